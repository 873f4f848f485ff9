"""What programs were told, written where their death can't reach it, and whether what is found agrees.

A program says what its names may hold before it begins something, and what they must hold once that
has returned. Names that several programs write are judged by the order in which the writes went.
"""

from __future__ import annotations

import enum
import hashlib
import os
import pickle
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

Contents = Mapping[str, bytes]


@attrs.frozen
class Digest:
    """A content: its size, and its SHA-1."""

    size: int
    sha1: str

    def __str__(self) -> str:
        return f"{self.size} bytes ({self.sha1[:8]})"


def digest(data: bytes | None) -> Digest | None:
    """None is: nothing has this name."""
    return None if data is None else Digest(len(data), hashlib.sha1(data).hexdigest())


@attrs.frozen
class Mix:
    """A file that is being written over in place: after a crash a local disk shows each of these bytes as it
    was or as it was to be."""

    before: bytes
    patches: Sequence[tuple[int, bytes]]
    sizes: frozenset[int] | range

    def allows(self, data: bytes) -> bool:
        """Whether `data` is what may be found."""
        if len(data) not in self.sizes:
            return False
        before = self.before[: len(data)].ljust(len(data), b"\0")
        known = bytearray(data)
        for offset, patch in self.patches:
            for at, byte in enumerate(patch, offset):
                if at < len(known) and known[at] == byte:
                    known[at] = before[at]
        return known == before


def beginning_of(data: bytes, least: int = 0) -> Mix:
    """What is left of `data` where a new file could not be written to its end: `least` bytes or more."""
    return Mix(b"", ((0, data),), range(least, len(data) + 1))


@attrs.define
class Claims:
    """What the names of one program may hold."""

    whole: dict[str, list[Digest | None]] = attrs.field(factory=dict)
    """Each of these contents, as it is."""
    mixed: dict[str, Mix] = attrs.field(factory=dict)
    """Or one of these mixes."""
    somewhere: list[tuple[tuple[str, ...], Digest]] = attrs.field(factory=list)
    """These bytes are under one of these names, or under several: they were being renamed."""

    def faults(self, found: Contents) -> Iterator[str]:
        """What does not agree."""
        for name, allowed in self.whole.items():
            data = found.get(name)
            mix = self.mixed.get(name)
            if digest(data) not in allowed and not (data is not None and mix and mix.allows(data)):
                what = " or ".join(sorted({str(each) for each in allowed}))
                yield f"{name} holds {digest(data)}, not {what}"
        for names, data_digest in self.somewhere:
            if all(digest(found.get(name)) != data_digest for name in names):
                yield f"{data_digest} was being renamed and is not under any of {names}"


@attrs.frozen
class Claim:
    """What one program says now. Names that it does not mention are as it said before; of mixes and
    renames only these are left."""

    program: str
    whole: Mapping[str, Sequence[Digest | None]]
    mixed: Mapping[str, Mix] = attrs.field(factory=dict)
    somewhere: Sequence[tuple[tuple[str, ...], Digest]] = ()
    at: float = attrs.field(factory=time.time)


class Word(enum.Enum):
    """How far the write of a shared name is."""

    BEGUN = "begun"
    RETURNED = "returned"


@attrs.frozen
class SharedWrite:
    """A name that many write: one of them begins, or has been told that it is done."""

    name: str
    data: bytes
    word: Word
    in_place: bool
    """The file is cut to nothing first: empty is one of the things that it may be found as."""
    at: float = attrs.field(factory=time.time)


@attrs.define(eq=False)
class Ledger:
    """The notes of one life, or of many, in a file: a note is there when the call returns. Several
    processes may have it open."""

    place: Path
    _fd: int = -1

    def open(self) -> None:
        """For a process that writes into it."""
        self._fd = os.open(self.place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def close(self) -> None:
        """For a process that does not write into it any more."""
        os.close(self._fd)

    def note(self, note: Claim | SharedWrite) -> None:
        """Survives the death of the process."""
        data = zlib.compress(pickle.dumps(note), 1)
        os.write(self._fd, len(data).to_bytes(4, "big") + data)

    def read(self) -> tuple[list[Claims], list[SharedWrite]]:
        """The last word of each program, and the writes of shared names in order."""
        claims: dict[str, Claims] = {}
        writes: list[SharedWrite] = []
        for note in self._notes():
            if isinstance(note, SharedWrite):
                writes.append(note)
            else:
                said = claims.setdefault(note.program, Claims())
                said.whole.update({name: list(allowed) for name, allowed in note.whole.items()})
                said.mixed, said.somewhere = dict(note.mixed), list(note.somewhere)
        return list(claims.values()), writes

    def _notes(self) -> Iterator[Claim | SharedWrite]:
        data = memoryview(self.place.read_bytes() if self.place.exists() else b"")
        while len(data) >= 4:
            size = int.from_bytes(data[:4], "big")
            note, data = data[4 : 4 + size], data[4 + size :]
            if len(note) == size:  # else it died while it wrote this: nothing had begun or been told yet
                yield pickle.loads(zlib.decompress(note))

    def story(self, name: str) -> list[str]:
        """What was said of a name, in order."""
        lines = []
        for note in self._notes():
            if isinstance(note, SharedWrite) and note.name == name:
                lines.append(f"{note.at:.3f}: {note.word.value}: {digest(note.data)}")
            elif isinstance(note, Claim) and name in note.whole:
                mixed = " (mixed)" if name in note.mixed else ""
                lines.append(f"{note.at:.3f}: " + " or ".join(map(str, note.whole[name][-4:])) + mixed)
        return lines

    def faults(self, found: Contents) -> list[str]:
        """Everything in which what is found in B2 differs from what programs were told."""
        claims, writes = self.read()
        faults = [fault for claim in claims for fault in claim.faults(found)]
        shared = {write.name for write in writes}
        for name in sorted(shared):
            faults += shared_faults([w for w in writes if w.name == name], found.get(name))
        known = shared.union(*(claim.whole for claim in claims))
        return faults + [f"nobody wrote {name}" for name in sorted(found.keys() - known)]


def shared_faults(writes: Sequence[SharedWrite], data: bytes | None) -> Iterator[str]:
    """The last write wins; of those that overlapped, any."""
    begun = {w.data: at for at, w in enumerate(writes) if w.word is Word.BEGUN}
    returned = {w.data: at for at, w in enumerate(writes) if w.word is Word.RETURNED}
    name, open_ones = writes[0].name, begun.keys() - returned.keys()
    if data is None or (data == b"" and open_ones and writes[0].in_place):
        if data is None and returned:
            yield f"{name} is missing"
        return
    if data not in begun:
        yield f"{name} holds {digest(data)}, which nobody wrote"
        return
    latest = max((begun[other] for other in returned), default=-1)
    if returned.get(data, len(writes)) < latest:
        yield f"{name} holds {digest(data)}, which was replaced by a write that had returned"
