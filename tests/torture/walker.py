"""A program that goes through a whole mount, reads what it finds there, and knows what some of it must be.

python -m tests.torture.walker MOUNT SIGN SEED
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.mounted.bucket import RemoteBucket
from tests.odd_names import files_shown, odd_keys

COUNT: Final = 120
OURS: Final = ("round-", "fio", "sqlite")
"""What programs change meanwhile begins so, at the mount's root."""

BEGINNING: Final = 64 << 10


def odd_names(seed: int) -> list[str]:
    return odd_keys(random.Random(seed), COUNT, controls=True)


def bytes_of(key: str) -> bytes:
    """That each odd name has."""
    return key.encode() * 3


def seed_odd_names(bucket: RemoteBucket, seed: int) -> None:
    """Past the mount, and past what B2's native API would let in."""
    for key in odd_names(seed):
        bucket.fill([key], bytes_of(key))


def tree(
    mount_point: Path, *, skip: tuple[str, ...] = (), below: str = ".", most: int = -1
) -> dict[str, bytes]:
    """Every file by its name relative to `below`, `most` bytes of each. Raises OSError when anything can't
    be read, or the mount is not there."""
    found = {}
    with _root(mount_point) as root:
        for directory, directories, names, fd in os.fwalk(below, dir_fd=root, onerror=_raise):
            if directory == ".":
                directories[:] = [name for name in directories if not name.startswith(skip)]
            for name in names:
                key = os.path.relpath(os.path.join(directory, name), below)
                found[key] = _read(name, fd, most)
    return found


@contextmanager
def _root(mount_point: Path) -> Iterator[int]:
    """A descriptor, so that nothing else is ever taken for the mount while there is none."""
    root = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(root).st_dev == mount_point.parent.stat().st_dev:
            raise FileNotFoundError(f"nothing is mounted at {mount_point}")
        yield root
    finally:
        os.close(root)


def _raise(error: OSError) -> None:
    raise error


def _read(name: str, directory: int, most: int) -> bytes:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
    with open(descriptor, "rb", buffering=0) as file:
        return file.read(most)


def assert_shown(found: dict[str, bytes], seed: int) -> None:
    """Raises AssertionError unless the odd names are as they must be."""
    expected = {key: bytes_of(key) for key in files_shown(odd_names(seed))}
    missing, surplus = expected.keys() - found.keys(), found.keys() - expected.keys()
    assert not missing | surplus, f"of the odd names {missing} are missing, and {surplus} are too many"
    wrong = [key for key in expected if expected[key] != found[key]]
    assert not wrong, f"{wrong} have other bytes"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.walker", description=__doc__)
    parser.add_argument("mount", type=Path)
    parser.add_argument("sign", type=Path)
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    walks = 0
    while not arguments.sign.exists():
        with suppress(OSError):  # somebody removes what this one was about to read, B2 is away, or the mount
            tree(arguments.mount, most=BEGINNING)
        try:
            found = tree(arguments.mount, skip=OURS)
        except OSError:
            continue
        assert_shown(found, arguments.seed)
        walks += 1
    print(walks)


if __name__ == "__main__":
    main()
