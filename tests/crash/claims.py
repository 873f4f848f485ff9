"""What programs were told, written where their death can't reach it, and whether what is found agrees.

A program says what its names may hold before it begins something, and what they must hold once that
has returned. Names that several programs write are judged by the order in which the writes went.
"""

from __future__ import annotations

import enum
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

Contents = Mapping[str, bytes]


@attrs.define
class Claims:
    """What the names of one program may hold. None is: nothing has this name."""

    whole: dict[str, list[bytes | None]] = attrs.field(factory=dict)
    """Each of these contents, as it is."""
    mixed: dict[str, list[bytes]] = attrs.field(factory=dict)
    """Bytes of all of these, each at its place, as a local disk would show after a crash: the file was
    being written over in place."""
    somewhere: list[tuple[tuple[str, ...], bytes]] = attrs.field(factory=list)
    """These bytes are under one of these names, or under several: they were being renamed."""

    def faults(self, found: Contents) -> Iterator[str]:
        """What does not agree."""
        for name, allowed in self.whole.items():
            data = found.get(name)
            if data not in allowed and not (data is not None and is_mix(data, self.mixed.get(name, []))):
                yield f"{name} holds {shown(data)}, not {' or '.join(map(shown, allowed))}"
        for names, data in self.somewhere:
            if all(found.get(name) != data for name in names):
                yield f"{shown(data)} was being renamed and is not under any of {names}"


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


Note = tuple[str, Claims] | SharedWrite


@attrs.define(eq=False)
class Ledger:
    """The notes of one life, in a file: a note is there when the call returns."""

    place: Path
    _fd: int = -1

    def open(self) -> None:
        """For the process that lives."""
        self._fd = os.open(self.place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, note: Note) -> None:
        """Survives the death of the process."""
        data = pickle.dumps(note)
        os.write(self._fd, len(data).to_bytes(4, "big") + data)

    def read(self) -> tuple[list[Claims], list[SharedWrite]]:
        """The last word of each program, and the writes of shared names in order."""
        data = self.place.read_bytes() if self.place.exists() else b""
        claims: dict[str, Claims] = {}
        writes: list[SharedWrite] = []
        while len(data) >= 4:
            size = int.from_bytes(data[:4], "big")
            note, data = data[4 : 4 + size], data[4 + size :]
            if len(note) < size:
                break  # it died while it wrote this: nothing had begun or been told yet
            said = pickle.loads(note)
            if isinstance(said, SharedWrite):
                writes.append(said)
            else:
                claims[said[0]] = said[1]
        return list(claims.values()), writes

    def faults(self, found: Contents) -> list[str]:
        """Everything in which what is found in B2 differs from what programs were told."""
        claims, writes = self.read()
        faults = [fault for claim in claims for fault in claim.faults(found)]
        shared = {write.name for write in writes}
        for name in sorted(shared):
            faults += _shared_faults([w for w in writes if w.name == name], found.get(name))
        known = shared.union(*(claim.whole for claim in claims))
        return faults + [f"nobody wrote {name}" for name in sorted(found.keys() - known)]


def _shared_faults(writes: list[SharedWrite], data: bytes | None) -> Iterator[str]:
    """The last write wins; of those that overlapped, any."""
    begun = {w.data: at for at, w in enumerate(writes) if w.word is Word.BEGUN}
    returned = {w.data: at for at, w in enumerate(writes) if w.word is Word.RETURNED}
    name, open_ones = writes[0].name, begun.keys() - returned.keys()
    if data is None or (data == b"" and open_ones and writes[0].in_place):
        if data is None and returned:
            yield f"{name} is missing"
        return
    if data not in begun:
        yield f"{name} holds {shown(data)}, which nobody wrote"
        return
    latest = max((begun[other] for other in returned), default=-1)
    if returned.get(data, len(writes)) < latest:
        yield f"{name} holds {shown(data)}, which was replaced by a write that had returned"


def is_mix(data: bytes, stages: list[bytes]) -> bool:
    """Whether every byte is at this place in one of `stages`, or a zero where a file had been lengthened."""
    if len(data) not in {len(stage) for stage in stages}:
        return False
    return all(
        any(byte == (stage[at] if at < len(stage) else 0) for stage in stages) for at, byte in enumerate(data)
    )


def shown(data: bytes | None) -> str:
    """Short enough for a message."""
    if data is None:
        return "nothing"
    return f"{len(data)} bytes {data[:6].hex()}..{data[-4:].hex()}" if len(data) > 10 else f"{data!r}"
