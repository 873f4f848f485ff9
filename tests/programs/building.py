"""A C project, built twice with make; packages installed into a virtual environment."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.programs.ground import Check, Ground

MODULES = 40
MAKEFILE = """
CFLAGS = -O1 -MMD -MP
SOURCES = $(wildcard module*.c)
program: main.o libmodules.a
	$(CC) -o $@ $^
libmodules.a: $(SOURCES:.c=.o)
	$(AR) rcs $@ $^
install: program
	install -D -m 755 program $(DESTDIR)/bin/program
	install -m 644 -t $(DESTDIR) common.h
-include $(wildcard *.d)
"""


def make_project(root: Path, modules: int = MODULES) -> None:
    """Modules each of which adds its number, and a program that asks them all."""
    root.mkdir()
    (root / "Makefile").write_text(MAKEFILE)
    (root / "common.h").write_text("int add(int a, int b);\n" * 2)
    calls = "".join(f"int f{n}(int); " for n in range(modules))
    body = "".join(f"x = f{n}(x); " for n in range(modules))
    (root / "main.c").write_text(
        f'#include <stdio.h>\n{calls}\nint main(void) {{ int x = 0; {body}printf("%d\\n", x); return 0; }}\n'
    )
    for n in range(modules):
        (root / f"module{n}.c").write_text(f'#include "common.h"\nint f{n}(int x) {{ return x + {n}; }}\n')


def build_twice(ground: Ground) -> None:
    project = ground.path / "project"
    make_project(project)
    assert ground.run("make", "-j2", cwd=project).count("module") > MODULES
    assert "up to date" in ground.run("make", cwd=project)
    assert ground.run(project / "program") == f"{sum(range(MODULES))}\n"
    ground.run("make", "install", f"DESTDIR={ground.path / 'installed'}", cwd=project)
    ground.run("touch", project / "module7.c")
    rebuilt = ground.run("make", cwd=project)
    assert "module7.o" in rebuilt
    assert "-c -o module8.o" not in rebuilt
    ground.remount()
    assert "up to date" in ground.run("make", cwd=project)
    assert ground.run(ground.path / "installed" / "bin" / "program") == f"{sum(range(MODULES))}\n"
    (project / "common.h").write_text("int add(int a, int b, int c);\n")
    assert ground.run("make", cwd=project).count("-c -o module") == MODULES


PACKAGES = ("attrs", "rich", "sortedcontainers")
TRY = "import attr, rich.table, sortedcontainers as s; print(sum(s.SortedList([2, 1])), attr.__file__)"


def pip_installs(ground: Ground) -> None:
    environment = ground.path / "environment"
    ground.run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    ground.run(python, "-m", "pip", "install", *quiet, *PACKAGES)
    for _ in range(2):
        assert ground.run(python, "-c", TRY).startswith(f"3 {environment}")
        ground.run(python, "-m", "pip", "check", *quiet[1:])
        ground.remount()
    ground.run(python, "-m", "pip", "install", *quiet, "--force-reinstall", "--no-deps", "attrs")
    ground.run(python, "-m", "pip", "uninstall", *quiet, "--yes", *PACKAGES)
    assert ground.attempt(python, "-c", TRY)[0] == 1


CHECKS = (
    Check("make", build_twice, ("make", "gcc", "ar"), ("make", "gcc", "libc6-dev")),
    Check("pip", pip_installs),
)
