"""git: clone, work, gc, fsck."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.mounted.trees import make_tree
from tests.programs.ground import Check, Ground

GIT = ("git", "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false")


def make_origin(run: Callable[..., str], origin: Path, files: int = 150, commits: int = 30) -> None:
    """A repository on the local disk with some history."""
    make_tree(origin, files)
    run(*GIT, "init", "--quiet", origin)
    for number in range(commits):
        (origin / "log.txt").write_text("".join(f"line {line}\n" for line in range(number * 20)))
        (origin / f"new {number % 7}").write_text(f"{number}\n" * 50)
        run(*GIT, "add", "--all", cwd=origin)
        run(*GIT, "commit", "--quiet", "-m", f"number {number}", cwd=origin)


def clone_work_gc_fsck(ground: Ground) -> None:
    origin, clone = ground.local / "origin", ground.path / "clone"
    make_origin(ground.run, origin)
    ground.run(*GIT, "clone", "--quiet", origin, clone)
    ground.run(*GIT, "checkout", "--quiet", "-b", "side", "HEAD~10", cwd=clone)
    (clone / "side.txt").write_text("side\n")
    ground.run(*GIT, "add", "--all", cwd=clone)
    ground.run(*GIT, "commit", "--quiet", "-m", "on the side", cwd=clone)
    ground.run(*GIT, "rebase", "--quiet", "main", cwd=clone)
    ground.run(*GIT, "checkout", "--quiet", "main", cwd=clone)
    ground.run(*GIT, "merge", "--quiet", "--no-ff", "-m", "merged", "side", cwd=clone)
    (clone / "log.txt").write_text("put away\n")
    ground.run(*GIT, "stash", "--quiet", cwd=clone)
    ground.run(*GIT, "stash", "pop", "--quiet", cwd=clone)
    ground.run(*GIT, "checkout", "--quiet", "--", "log.txt", cwd=clone)
    ground.run(*GIT, "fsck", "--full", "--strict", cwd=clone)
    ground.run(*GIT, "gc", "--quiet", "--prune=now", cwd=clone)
    ground.run(*GIT, "fsck", "--full", "--strict", cwd=clone)
    ground.run(*GIT, "clone", "--quiet", clone, ground.path / "second")  # tries hard links first
    assert ground.run(*GIT, "status", "--porcelain", cwd=clone) == ""
    ground.remount()
    assert ground.run(*GIT, "status", "--porcelain", cwd=clone) == ""
    ground.run(*GIT, "fsck", "--full", "--strict", cwd=clone)
    ground.run(*GIT, "fsck", "--full", "--strict", cwd=ground.path / "second")
    head = ground.run(*GIT, "rev-parse", "HEAD", cwd=clone)
    assert head == ground.run(*GIT, "rev-parse", "HEAD", cwd=ground.path / "second")


CHECKS = (Check("git", clone_work_gc_fsck, ("git",), ("git",)),)
