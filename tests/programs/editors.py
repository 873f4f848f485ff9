"""Programs that edit a file: vim with backup, undo and swap files, sed, patch, ed's kin, install."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.programs.ground import Check, Ground

PLACES = "directory=. backupdir=. undodir=."
OLD, NEW = "alpha\nbeta\n" * 200, "alpha\ngamma\n" * 200


def text(ground: Ground, name: str) -> Path:
    """A file of somebody's, with a mode and attributes of its own."""
    path = ground.path / name
    path.write_text(OLD)
    os.chown(path, 1000, 1001)
    path.chmod(0o640)
    os.setxattr(path, "user.comment", b"mine")
    return path


def assert_edited(path: Path, mode: int = 0o640, owner: tuple[int, int] = (1000, 1001)) -> None:
    """The bytes are new; owner and mode are as they were."""
    assert path.read_text() == NEW
    status = path.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, *owner), status


def vim(ground: Ground) -> None:
    swap = "let g:swap = swapname('%') | call writefile([fnamemodify(g:swap, ':t')], 'swap-name')"
    for copies in ("yes", "no", "auto"):
        home = ground.path / copies
        home.mkdir()
        path = text(ground, f"{copies}/text")
        settings = f"set backup backupskip= swapfile undofile backupcopy={copies} {PLACES}"
        quiet = ("vim", "-N", "-u", "NONE", "-i", "NONE", "-es", "--cmd", settings)
        edit = ("-c", "%s/beta/gamma/", "-c", "preserve", "-c", swap, "-c", "wq")
        ground.run(*quiet, *edit, "text", cwd=home)
        assert_edited(path)
        assert (home / "text~").read_text() == OLD
        assert (home / "swap-name").read_text() == ".text.swp\n"
        assert sorted(os.listdir(home)) == [".text.un~", "swap-name", "text", "text~"]
        ground.run(*quiet, "-c", "undo", "-c", "x", "text", cwd=home)  # from the undo file
    ground.remount()
    for copies in ("yes", "no", "auto"):
        path = ground.path / copies / "text"
        assert path.read_text() == OLD
        assert (ground.path / copies / "text~").read_text() == NEW
        assert path.stat().st_mode & 0o7777 == 0o640


def sed_and_others(ground: Ground) -> None:
    ground.run("sed", "-i.bak", "s/beta/gamma/", text(ground, "by-sed"))
    assert_edited(ground.path / "by-sed")
    assert (ground.path / "by-sed.bak").read_text() == OLD
    ground.run("perl", "-i.bak", "-pe", "s/beta/gamma/", text(ground, "by-perl"))
    assert_edited(ground.path / "by-perl")
    path = text(ground, "by-sort")
    ground.run("sort", "-u", "-o", path, path)
    assert path.read_text() == "alpha\nbeta\n"
    text(ground, "by-shell")
    ground.run("sh", "-c", "sed s/beta/gamma/ by-shell > new && cat new > by-shell", cwd=ground.path)
    assert_edited(ground.path / "by-shell")
    ground.remount()
    for name in ("by-sed", "by-perl", "by-shell"):
        assert_edited(ground.path / name)


def install(run: Callable[..., str], path: Path, local: Path) -> None:
    """install(1) with all that it can be asked for."""
    source, when = local / "source", 1_500_000_000_123_456_789
    source.write_text(NEW)
    os.utime(source, ns=(when, when))
    target = path / "deep" / "down" / "installed"
    given = ("-o", "7", "-g", "8", "-m", "4750")
    for _ in range(2):  # the second replaces the first
        run("install", "-D", "-p", *given, source, target)
        assert_edited(target, 0o4750, (7, 8))
        assert target.stat().st_mtime_ns == when
    for _ in range(2):  # the second has nothing to do
        run("install", "-C", "-m", "755", source, path / "plain")
        os.utime(path / "plain", ns=(when, when))
    run("install", "-C", "-m", "755", source, path / "plain")
    assert (path / "plain").stat().st_mtime_ns == when
    run("install", "-b", "-S", ".old", "-m", "644", source, target)
    assert (target.parent / "installed.old").stat().st_mode & 0o7777 == 0o4750
    run("install", "-d", "-m", "2775", "-g", "8", path / "shared")
    status = (path / "shared").stat()
    assert (status.st_mode & 0o7777, status.st_gid) == (0o2775, 8)


def install_and_patch(ground: Ground) -> None:
    install(ground.run, ground.path, ground.local)
    patched, changed = text(ground, "patched"), ground.local / "changed"
    changed.write_text(NEW)
    code, difference = ground.attempt("diff", "-u", patched, changed)
    assert code == 1
    (ground.path / "difference").write_text(difference)
    ground.run("patch", "-b", "patched", "difference", cwd=ground.path)
    assert_edited(patched)
    assert (ground.path / "patched.orig").read_text() == OLD
    ground.run("patch", "-R", "patched", "difference", cwd=ground.path)
    assert patched.read_text() == OLD


CHECKS = (
    Check("vim", vim, ("vim",), ("vim",)),
    Check("sed", sed_and_others, ("sed", "perl"), ("sed", "perl")),
    Check("install-patch", install_and_patch, ("install", "patch"), ("coreutils", "patch")),
)
