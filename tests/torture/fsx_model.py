"""What one file must hold, and what it may hold after the mount has died. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

CHUNK: Final = 4096


@attrs.frozen
class Patch:
    """Bytes that took the place of others and were not acknowledged as durable; zeros for None."""

    start: int
    stop: int
    data: bytes | None = attrs.field(repr=False)

    def piece(self, start: int, stop: int) -> bytes:
        """What it has there."""
        if self.data is None:
            return bytes(stop - start)
        return self.data[start - self.start : stop - self.start]


@attrs.frozen
class Look:
    """What a file has besides bytes."""

    mode: int = 0o644
    mark: bytes | None = None
    """An extended attribute."""


@attrs.define(eq=False)
class File:
    """One file, under whatever name, or under none while somebody has it open."""

    data: bytearray = attrs.field(factory=bytearray, repr=lambda data: str(len(data)))
    look: Look = attrs.field(factory=Look)
    looks: set[Look] = attrs.field(factory=lambda: {Look()}, repr=False)
    """Every look since the last one that was acknowledged as durable."""
    safe: bytes | None = attrs.field(default=None, repr=False)
    """The bytes that were last acknowledged as durable; None when not even the file was."""
    patches: list[Patch] = attrs.field(factory=list, repr=False)
    """What was done since."""
    sizes: set[int] = attrs.field(factory=lambda: {0}, repr=False)
    """Every size since."""
    replaces: File | None = attrs.field(default=None, repr=False)
    """What had its name before a rename, as long as nothing of this one was acknowledged as durable: after a
    crash it may have it again."""

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        """What pread(2) returns."""
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, piece: bytes) -> None:
        """What pwrite(2) does: a gap before it is zeros."""
        if not piece:
            return
        if offset > self.size:
            self.resize(offset)
        self.data[offset : offset + len(piece)] = piece
        self._changed(Patch(offset, offset + len(piece), piece))

    def resize(self, size: int) -> None:
        """What truncate(2) does."""
        before = self.size
        if size < before:
            del self.data[size:]
        else:
            self.data.extend(bytes(size - before))
        self._changed(Patch(min(size, before), max(size, before), None))

    def dress(self, look: Look) -> None:
        """What chmod(2) and setxattr(2) do: durable at once, unless bytes wait to be."""
        self.look = look
        self.looks = {*self.looks, look} if self.patches or self.safe is None else {look}

    def _changed(self, patch: Patch) -> None:
        self.patches.append(patch)
        self.sizes.add(self.size)

    def acknowledged(self) -> None:
        """Everything is durable now."""
        if self.patches or self.safe is None:
            self.safe = bytes(self.data)
            self.patches.clear()
        self.sizes, self.looks = {self.size}, {self.look}
        self.replaces = None

    def fault(self, found: bytes | None, look: Look) -> str | None:
        """Why this can't be what a death of the mount has left of it; None when it can. Each byte is what was
        acknowledged last, or what was written there since."""
        if self.replaces is not None and self.replaces.fault(found, look) is None:
            return None
        if found is None:
            return None if self.safe is None else f"it is gone, {len(self.safe)} bytes were durable"
        if len(found) not in self.sizes:
            return f"it has {len(found)} bytes, not one of {sorted(self.sizes)}"
        if look not in self.looks:
            return f"it looks like {look}, not like one of {self.looks}"
        left = self._unexplained(found)
        return f"it has bytes that it never had, at {left[:5]}" if left else None

    def left_by_death(self, found: bytes | None, look: Look) -> None:
        """From now on this is what it is, durably."""
        self.look, self.looks = look, {look}
        self.replaces = None
        self.data = bytearray(found or b"")
        self.patches.clear()
        self.safe = found
        self.sizes = {self.size}

    def _unexplained(self, found: bytes) -> list[tuple[int, int]]:
        safe = (self.safe or b"")[: len(found)].ljust(len(found), b"\0")
        left = list(differences(found, safe))
        for patch in reversed(self.patches):
            left = [rest for span in left for rest in _without(span, patch, found)]
        return left


def differences(one: bytes | bytearray, other: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where two strings of one length differ: spans, in order."""
    for start in range(0, len(one), CHUNK):
        here, there = one[start : start + CHUNK], other[start : start + CHUNK]
        if here == there:
            continue
        begun = None
        for at, (left, right) in enumerate(zip(here, there, strict=True), start):
            if left != right and begun is None:
                begun = at
            elif left == right and begun is not None:
                yield begun, at
                begun = None
        if begun is not None:
            yield begun, start + len(here)


def _without(span: tuple[int, int], patch: Patch, found: bytes) -> Iterator[tuple[int, int]]:
    """What of a span is not as the patch has it."""
    start, stop = max(span[0], patch.start), min(span[1], patch.stop)
    if start >= stop:
        yield span
        return
    if span[0] < start:
        yield span[0], start
    for begin, end in differences(found[start:stop], patch.piece(start, stop)):
        yield start + begin, start + end
    if stop < span[1]:
        yield stop, span[1]
