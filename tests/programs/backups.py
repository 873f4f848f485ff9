"""restic and borg: repositories on the mount, checked, restored from, and pruned."""

from __future__ import annotations

from pathlib import Path

from tests.mounted.trees import make_tree
from tests.programs.ground import Check, Ground


def change(source: Path) -> None:
    """Some work between two backups."""
    (source / "big.bin").write_bytes((source / "big.bin").read_bytes() + b"more")
    (source / "new").write_text("new\n" * 1000)


def restic(ground: Ground) -> None:
    source, repository = ground.local / "source", ground.path / "repository"
    make_tree(source)
    (ground.local / "password").write_text("secret")
    words = ("--quiet", "--password-file", str(ground.local / "password"), "--no-cache")
    command = ("restic", "--repo", str(repository), *words)
    ground.run(*command, "init")
    ground.run(*command, "backup", ".", cwd=source)
    change(source)
    ground.run(*command, "backup", ".", cwd=source)
    ground.run(*command, "check", "--read-data")
    ground.remount()
    ground.run(*command, "restore", "latest", "--target", ground.local / "restored")
    ground.same_trees(ground.local / "restored", source)
    ground.run(*command, "forget", "--keep-last", "1", "--prune")
    ground.run(*command, "check", "--read-data")
    ground.run(*command, "restore", "latest", "--target", ground.path / "restored")
    ground.same_trees(ground.path / "restored", source)


def borg(ground: Ground) -> None:
    source, repository = ground.local / "source", ground.path / "repository"
    make_tree(source)
    base = f"BORG_BASE_DIR={ground.local / 'borg'}"
    command = (
        "env",
        base,
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes",
        "BORG_PASSPHRASE=secret",
        "borg",
    )
    ground.run(*command, "init", "--encryption=repokey", repository)
    ground.run(*command, "create", f"{repository}::one", ".", cwd=source)
    change(source)
    ground.run(*command, "create", f"{repository}::two", ".", cwd=source)
    ground.run(*command, "check", "--verify-data", repository)
    ground.remount()
    for place in (ground.local / "restored", ground.path / "restored"):
        place.mkdir()
        ground.run(*command, "extract", f"{repository}::two", cwd=place)
        ground.same_trees(place, source)
    ground.run(*command, "prune", "--keep-last=1", repository)
    ground.run(*command, "compact", repository)
    ground.run(*command, "check", "--verify-data", repository)


CHECKS = (
    Check("restic", restic, ("restic",), ("restic",)),
    Check("borg", borg, ("borg",), ("borgbackup",)),
)
