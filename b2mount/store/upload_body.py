"""The bytes of a ByteSource as an HTTP body that can be read again, with its SHA-1 behind them.

Invariants: one pass reads, hashes and sends; nothing is held but one piece; every UploadBody has
files of its own, so any number may read one source at once; an error of the local disk is told
from one of the network (`failure`), which b2sdk can't do.

Must not know: B2's calls, retries.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Generator
from typing import Final

from b2mount.model import ByteSource, FileSlice, Literal, Zeros
from b2mount.store.rate_limit import RateLimit

PIECE_SIZE: Final = 256 * 1024
SHA1_HEX_SIZE: Final = 40

_ZEROS: Final = bytes(PIECE_SIZE)


def pieces_of(source: ByteSource) -> Generator[bytes, None, None]:
    """The bytes of `source` from its start, at most PIECE_SIZE at a time. Raises OSError, also when
    a file has become shorter."""
    for piece in source.pieces:
        match piece:
            case FileSlice():
                yield from _slice_of_file(piece)
            case Zeros(size):
                for start in range(0, size, PIECE_SIZE):
                    yield _ZEROS[: size - start]
            case Literal(data):
                for start in range(0, len(data), PIECE_SIZE):
                    yield data[start : start + PIECE_SIZE]


def _slice_of_file(piece: FileSlice) -> Generator[bytes, None, None]:
    descriptor = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        done = 0
        while done < piece.size:
            data = os.pread(descriptor, min(PIECE_SIZE, piece.size - done), piece.offset + done)
            if not data:
                raise OSError(f"{piece.path} is shorter than what was to be read from it")
            done += len(data)
            yield data
    finally:
        os.close(descriptor)


class SourceUnreadable(Exception):
    """The local bytes could not be read: `reason` says why. Not the network's fault."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class UploadBody(io.RawIOBase):
    """A file-like body for one request: the source's bytes, then the 40 hex digits of their SHA-1.

    Can be rewound to 0, not elsewhere. Close it: it may hold a file open. `abandon` and `tell` may
    be called by another thread; everything else belongs to the one that sends.
    """

    def __init__(self, source: ByteSource, limit: RateLimit | None = None) -> None:
        super().__init__()
        self._source = source
        self._limit = limit
        self._abandoned = False
        self._size = source.size + SHA1_HEX_SIZE
        self.failure: OSError | None = None
        """Why the local bytes could not be read."""
        self._rewind()

    def _rewind(self) -> None:
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._pieces = self._all_pieces()
        self._rest = memoryview(b"")
        self._position = 0

    def __len__(self) -> int:
        return self._size

    @property
    def sha1(self) -> str:
        """The SHA-1 of what was read so far, without the digits at the end."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read goes on."""
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Back to the start; nowhere else."""
        if position or whence:
            raise io.UnsupportedOperation("an upload body can only be rewound")
        if self._position:
            self._pieces.close()
            self._rewind()
        return 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, empty at the end only."""
        if size is None or size < 0:
            return self.readall()
        if self._abandoned:
            raise OSError("nobody wants this upload any more")
        if self._limit is not None:
            size = min(size, self._limit.piece_size)
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        data = bytes(self._rest[:size])
        self._rest = self._rest[size:]
        self._position += len(data)
        if self._limit is not None:
            self._limit.take(len(data))
        return data

    def readall(self) -> bytes:
        """Everything that is left."""
        return b"".join(iter(lambda: self.read(PIECE_SIZE), b""))

    def abandon(self) -> None:
        """Make the next read fail, so that the request ends soon."""
        self._abandoned = True

    def close(self) -> None:
        """Close the local file, if one is open."""
        self._pieces.close()
        super().close()

    def _all_pieces(self) -> Generator[bytes, None, None]:
        try:
            for data in pieces_of(self._source):
                self._digest.update(data)
                yield data
        except OSError as error:
            self.failure = error
            raise
        yield self.sha1.encode()
