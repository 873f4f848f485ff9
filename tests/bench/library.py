"""The bytes of all benchmarks: one text file, and pieces of it under many names.

B2 copies a range of an object into a new one, so a bucket is filled from one upload; and what a file
must hold is known without keeping it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

KIB: Final = 1024
MIB: Final = 1024 * KIB
LINE: Final = 65
"""Bytes of a line: 64 hexadecimal digits and a line feed."""
LINES_AT_ONCE: Final = 65_536


@attrs.frozen
class Piece:
    """Some bytes of the library."""

    offset: int
    size: int

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Itself."""
        return (self,)


@attrs.frozen
class Spliced:
    """Pieces one after another."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(piece.size for piece in self.pieces)


Content = Piece | Spliced


@attrs.frozen
class Library:
    """A local text file of hexadecimal lines; no two of them are alike."""

    path: Path
    size: int

    @classmethod
    def write(cls, path: Path, size: int) -> Library:
        """Make the file. The same bytes each time."""
        generator = random.Random(2)
        with path.open("wb") as file:
            for start in range(0, size, LINES_AT_ONCE * LINE):
                text = generator.randbytes(LINES_AT_ONCE * 32).hex("\n", 32) + "\n"
                file.write(text.encode()[: size - start])
        return cls(path, size)

    def read(self, content: Content) -> bytes:
        """All the bytes at once."""
        return b"".join(self.chunks(content))

    def sha1(self, content: Content) -> str:
        """The SHA-1 of all the bytes, in hexadecimal."""
        return sha1_of(self.chunks(content))

    def chunks(self, content: Content) -> Iterator[bytes]:
        """The bytes, a MiB or less at a time."""
        with self.path.open("rb") as file:
            for piece in content.pieces:
                file.seek(piece.offset)
                left = piece.size
                while left:
                    chunk = file.read(min(left, MIB))
                    left -= len(chunk)
                    yield chunk

    def lines(self, content: Content) -> list[str]:
        """The whole lines."""
        return self.read(content).decode().split("\n")[1:-1]

    def lay_out(self, files: Mapping[str, Content], folder: Path) -> None:
        """Make local files of pieces."""
        for name, piece in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.writelines(self.chunks(piece))


def sha1_of(chunks: Iterable[bytes]) -> str:
    """The SHA-1 of all the chunks, in hexadecimal."""
    sha1 = hashlib.sha1(usedforsecurity=False)
    for chunk in chunks:
        sha1.update(chunk)
    return sha1.hexdigest()


def small_files(folders: int, each: int, size: int) -> dict[str, Piece]:
    """`folders` folders of `each` files of `size` bytes, no two with the same bytes."""
    return {
        f"d{folder:03}/f{number:03}.txt": Piece((folder * each + number) * (size + LINE), size)
        for folder in range(folders)
        for number in range(each)
    }
