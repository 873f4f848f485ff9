"""Workloads that write. All of them last until the bucket has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.bench.library import KIB, MIB, Content, Piece, Spliced, small_files
from tests.bench.stage import Stage, Workload, output_of

COPIED: Final = {"copy.bin": Piece(300 * MIB, 256 * MIB)}
SMALL: Final = {f"small/{name}": piece for name, piece in small_files(1, each=200, size=10_000).items()}
MOVED: Final = {name.replace("small/", "moved/"): piece for name, piece in SMALL.items()}
TREE: Final = {f"tree/{name}": piece for name, piece in small_files(10, each=20, size=10_000).items()}
EDITED: Final = Piece(0, 512 * MIB)
ADDED: Final = Piece(700 * MIB, MIB)
CHANGED: Final = Piece(700 * MIB, 4 * KIB)
CHANGED_AT: Final = 300 * MIB + 12_345
GROWN: Final = Spliced((EDITED, ADDED))
MENDED: Final = Spliced(
    (
        Piece(0, CHANGED_AT),
        CHANGED,
        Piece(CHANGED_AT + CHANGED.size, EDITED.size - CHANGED_AT - CHANGED.size),
    )
)


def copy_big(stage: Stage) -> None:
    """One new big file."""
    source = lay_out(stage, COPIED)
    until_in_bucket(stage, COPIED, lambda mnt: output_of("cp", source / "copy.bin", mnt))


def copy_small(stage: Stage) -> None:
    """A directory of small files."""
    source = lay_out(stage, SMALL)
    until_in_bucket(stage, SMALL, lambda mnt: output_of("cp", "-r", source / "small", mnt))


def append(stage: Stage) -> None:
    """A big file grows a little."""
    added = stage.library.read(ADDED)
    until_in_bucket(stage, {"big.bin": GROWN}, lambda mnt: write(mnt / "big.bin", EDITED.size, added))


def change(stage: Stage) -> None:
    """A few bytes in the middle of a big file become others."""
    changed = stage.library.read(CHANGED)
    until_in_bucket(stage, {"big.bin": MENDED}, lambda mnt: write(mnt / "big.bin", CHANGED_AT, changed))


def move(stage: Stage) -> None:
    """A directory gets another name."""
    until_in_bucket(stage, MOVED, lambda mnt: output_of("mv", mnt / "small", mnt / "moved"))


def untar(stage: Stage) -> None:
    """Unpack an archive."""
    archive = stage.folder / "tree.tar"
    output_of("tar", "--create", "--file", archive, "--directory", lay_out(stage, TREE), "tree")
    until_in_bucket(stage, TREE, lambda mnt: output_of("tar", "-x", "-f", archive, "-C", mnt))


def synchronize(stage: Stage) -> None:
    """Copy a tree, and look whether there is anything more to copy."""
    first, again = WRITING[-1].rows
    source = lay_out(stage, TREE) / "tree"
    with stage.mounted() as mount:
        for row in (first, again):
            with stage.measure(row, mount) as deadline:
                output_of("rsync", "-a", source, mount.path)
                stage.wait_for(TREE, deadline)
            stage.check_bucket(TREE)


def until_in_bucket(stage: Stage, files: Mapping[str, Content], work: Callable[[Path], object]) -> None:
    """Measure the work on a fresh mount until the bucket holds these files."""
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount) as deadline:
            work(mount.path)
            stage.wait_for(files, deadline)
        stage.check_bucket(files)


def lay_out(stage: Stage, files: Mapping[str, Content]) -> Path:
    """A local folder with these files."""
    folder = stage.folder / "local"
    stage.library.lay_out(files, folder)
    return folder


def write(path: Path, offset: int, data: bytes) -> None:
    """Write into a file that exists, and close it."""
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        while data:
            data = data[file.write(data) :]


WRITING: Final = (
    Workload("cp", ("cp of 256 MiB",), {}, copy_big),
    Workload("cp-small", ("cp -r of 200 files of 10 kB",), {}, copy_small),
    Workload("append", ("append 1 MiB to 512 MiB",), {"big.bin": EDITED}, append),
    Workload("change", ("change 4 KiB inside 512 MiB",), {"big.bin": EDITED}, change),
    Workload("mv", ("mv of a directory of 200 files",), SMALL, move),
    Workload("untar", ("tar x of 200 files of 10 kB",), {}, untar),
    Workload("rsync", ("rsync -a of 200 files of 10 kB", "rsync -a again"), {}, synchronize),
)
