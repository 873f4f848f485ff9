"""A mixed load: several programs at once on one file system, and each keeps account of what it was told."""

from __future__ import annotations

import errno
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from b2mount.errors import B2MountError
from tests.crash.claims import (
    Claim,
    Claims,
    Digest,
    Ledger,
    Mix,
    SharedWrite,
    Word,
    beginning_of,
    digest,
)
from tests.crash.files import Files

MANY = 25
"""Files of one program; from there on it removes some."""
SHARED_SIZE = 64
TILE = 40_009
"""A prime: bytes that went to another block are seen."""


@attrs.frozen
class Home:
    """A directory that one program has to itself."""

    name: str
    sizes: tuple[int, ...]
    """Bytes of the files that it makes."""
    piece: int = 40
    """Bytes of a write in place, at most."""
    pause: float = 0.0
    """Seconds between two operations."""

    def seeded(self) -> dict[str, bytes]:
        """What is in B2 before: a small file and a large one (not so large that damage on an unprotected line
        might stay unseen: see reading.integrity)."""
        names = {f"{self.name}/s": 50, f"{self.name}/l": min(max(300, *self.sizes), 15_000_000)}
        return {name: some_bytes(random.Random(name), size) for name, size in names.items()}


def before_the_load(ledger: Ledger, homes: Sequence[Home]) -> None:
    """Whenever something dies, what is in B2 before must be there."""
    for home in homes:
        ledger.note(Claim(home.name, {name: [digest(data)] for name, data in home.seeded().items()}))


class GaveUp(Exception):
    """Something that a program did has failed: what it says of those names stays open."""


@attrs.define(eq=False)
class Writer:
    """A program with a directory of its own."""

    files_of: Files
    ledger: Ledger
    dice: random.Random
    home: Home
    files: dict[str, bytes] = attrs.field(init=False)
    """What it believes its names to hold; those it is unsure of are not among them."""
    claims: Claims = attrs.field(factory=Claims)
    history: dict[str, list[Digest | None]] = attrs.field(factory=dict)
    """All that the files and those that they replaced have held, by the name they have now."""
    made: int = 0
    done: int = 0
    """Operations that have returned."""

    def __attrs_post_init__(self) -> None:
        self.files = self.home.seeded()
        self.claims.whole = {name: [digest(data)] for name, data in self.files.items()}
        self.history = {name: [digest(data)] for name, data in self.files.items()}

    async def run(self, goes_on: Callable[[], bool]) -> None:
        common = [self.create, self.overwrite, self.edit, self.edit, self.keep_a_log, self.rename]
        rare = [self.rename_while_open, self.rename_over, self.unlink, self.resize, self.rename_directory]
        rare.append(self.exchange)
        while goes_on():
            try:
                await (self.unlink() if len(self.files) > MANY else self.dice.choice(common + rare)())
                self.done += 1
            except GaveUp:
                await trio.lowlevel.checkpoint()
            if self.home.pause:
                await trio.sleep(self.home.pause)

    @asynccontextmanager
    async def doing(
        self,
        after: Mapping[str, bytes | None],
        *,
        mix: Mix | None = None,
        torn: Mix | None = None,
        moves: Mapping[str, str] | None = None,
    ) -> AsyncIterator[None]:
        """Inside, the names may hold what they held or what they will hold; with `mix` (of a single name)
        some of both, and with `torn` too when the disk is full; with `moves` the bytes are under the old name
        or the new."""
        claims, moves = self.claims, moves or {}
        for name, data in after.items():
            claims.whole[name] = [*claims.whole.get(name, [None]), digest(data)]
            if mix is not None:
                claims.mixed[name] = mix
        for old in moves:  # what B2 has may stay where it is, once the new name has what is newer
            claims.whole[old] += self.history.get(old, [])
        moving = [((old, new), found) for old, new in moves.items() if (found := digest(self.files[old]))]
        claims.somewhere += moving
        for name in after:
            self.files.pop(name, None)
        self.say(after)
        try:
            yield
        except (B2MountError, OSError) as error:
            for old, new in moves.items():  # a copy of what B2 had may have been made all the same
                claims.whole[new] += self.history.get(old, [])
            if torn is not None and is_full(error):
                claims.mixed.update(dict.fromkeys(after, torn))
            self.say(after)
            raise GaveUp from error
        for old, new in moves.items():
            self.history[new] = self.history.get(new, []) + self.history.pop(old, [])
        for name, data in after.items():
            self.history.setdefault(name, []).append(digest(data))
            claims.whole[name] = [digest(data)]
            claims.mixed.pop(name, None)
            if data is not None:
                self.files[name] = data
        claims.somewhere = [each for each in claims.somewhere if each not in moving]
        self.say(after)

    def say(self, names: Mapping[str, object]) -> None:
        """Tell the world what these names may hold."""
        whole = {name: list(self.claims.whole[name]) for name in names}
        self.ledger.note(Claim(self.home.name, whole, dict(self.claims.mixed), list(self.claims.somewhere)))

    # -- what it does ----------------------------------------------------------------------

    async def create(self) -> None:
        data = self.data()
        name = await self.new_name()
        async with self.doing({name: data}, torn=beginning_of(data)):
            fh = await self.files_of.create(name)
            await self.write_in_pieces(fh, data)
            await self.files_of.close(fh)

    async def overwrite(self) -> None:
        name, data = self.some_file(), self.data()
        async with self.doing({name: data}, torn=beginning_of(data)):
            fh = await self.files_of.open(name, cut=True)
            await self.write_in_pieces(fh, data)
            await self.files_of.close(fh)

    async def edit(self) -> None:
        """In place: a few writes, an fsync, a few writes, the close."""
        name = self.some_file()
        fh = await self.opened(name)
        if self.dice.random() < 0.5:
            await self.change(fh, name, self.files_of.sync)
        await self.change(fh, name, self.files_of.close)

    async def change(self, fh: int, name: str, ending: Callable[[int], Awaitable[None]]) -> None:
        before = after = self.files[name]
        sizes, writes = {len(before)}, []
        for _ in range(self.dice.randint(1, 3)):
            offset = self.dice.choice(
                [0, len(after), self.dice.randint(0, len(after) + self.home.piece // 2)]
            )
            writes.append((offset, self.dice.randbytes(self.dice.randint(1, self.home.piece))))
            after = patched(after, *writes[-1])
            sizes.add(len(after))
        torn = Mix(before, writes, range(min(sizes), max(sizes) + 1))
        async with self.doing({name: after}, mix=Mix(before, writes, frozenset(sizes)), torn=torn):
            for offset, data in writes:
                await self.files_of.write(fh, offset, data)
                await self.pause()
            await ending(fh)

    async def keep_a_log(self) -> None:
        """A new file that grows, each line synced."""
        name, data = await self.new_name(), b""
        fh = None
        for _ in range(self.dice.randint(1, 3)):
            line = self.dice.randbytes(self.dice.randint(1, 2 * self.home.piece))
            async with self.doing({name: data + line}, torn=beginning_of(data + line, len(data))):
                fh = fh or await self.files_of.create(name)
                await self.files_of.write(fh, len(data), line)
                await self.files_of.sync(fh)
            data += line
        async with self.doing({name: data}):
            await self.files_of.close(fh or 0)

    async def resize(self) -> None:
        name = self.some_file()
        before, size = self.files[name], self.dice.choice([0, 10, 150, 500])
        after = before[:size].ljust(size, b"\0")
        async with self.doing({name: after}, mix=Mix(before, (), frozenset({len(before), size}))):
            await self.files_of.truncate(name, size)

    async def unlink(self) -> None:
        name = self.some_file()
        async with self.doing({name: None}):
            await self.files_of.unlink(name)

    async def rename(self) -> None:
        old, new = self.some_file(), await self.new_name()
        await self.move(old, new)

    async def rename_over(self) -> None:
        old, new = self.some_file(), self.some_file()
        if old != new:
            await self.move(old, new)

    async def exchange(self) -> None:
        one, other = self.some_file(), self.some_file()
        if one == other:
            return
        history = self.history.get(one, []) + self.history.get(other, [])
        after = {one: self.files[other], other: self.files[one]}
        async with self.doing(after, moves={one: other, other: one}):
            await self.files_of.exchange(one, other)
        self.history[one], self.history[other] = list(history), list(history)

    async def move(self, old: str, new: str) -> None:
        async with self.doing({old: None, new: self.files[old]}, moves={old: new}):
            await self.files_of.rename(old, new)

    async def rename_while_open(self) -> None:
        old, new = self.some_file(), await self.new_name()
        fh = await self.opened(old)
        if self.dice.random() < 0.7:
            await self.change(fh, old, self.files_of.sync)
        await self.move(old, new)
        await self.change(fh, new, self.files_of.close)

    async def rename_directory(self) -> None:
        inside = sorted({name.rpartition("/")[0] for name in self.files if name.count("/") > 1})
        if not inside:
            return
        old, new = self.dice.choice(inside), f"{self.home.name}/d{self.made}"
        self.made += 1
        moves = {name: new + name.removeprefix(old) for name in self.files if name.startswith(f"{old}/")}
        after: dict[str, bytes | None] = {moves[name]: self.files[name] for name in moves}
        after.update(dict.fromkeys(moves))
        there = (name for name, data in self.claims.whole.items() if data != [None] and name not in moves)
        if any(name.startswith(f"{old}/") for name in there):
            return  # there are files in it of which it can't say what they hold
        async with self.doing(after, moves=moves):
            await self.files_of.rename(old, new)

    # -- helpers ---------------------------------------------------------------------------

    def some_file(self) -> str:
        if not self.files:
            raise GaveUp
        return self.dice.choice(sorted(self.files))

    async def new_name(self) -> str:
        """At the top of its directory, or in a subdirectory, which is made."""
        self.made += 1
        if self.dice.random() < 0.5:
            return f"{self.home.name}/{self.made}"
        directory = f"{self.home.name}/sub"
        try:
            await self.files_of.make_directory(directory)
        except (B2MountError, OSError) as error:
            raise GaveUp from error
        return f"{directory}/{self.made}"

    async def opened(self, name: str) -> int:
        try:
            return await self.files_of.open(name)
        except (B2MountError, OSError) as error:
            raise GaveUp from error

    def data(self) -> bytes:
        return some_bytes(self.dice, self.dice.choice(self.home.sizes))

    async def write_in_pieces(self, fh: int, data: bytes) -> None:
        step = self.dice.choice([len(data), len(data) // 2 + 1, len(data) // 5 + 1]) or 1
        for offset in range(0, len(data), step):
            await self.files_of.write(fh, offset, data[offset : offset + step])
            await self.pause()

    async def pause(self) -> None:
        if self.dice.random() < 0.3:
            await trio.sleep(self.dice.random() * 0.002)


@attrs.define(eq=False)
class Sharer:
    """One of several programs that write the same names: by a rename over them, and in place."""

    files_of: Files
    ledger: Ledger
    dice: random.Random
    name: str
    size: int = SHARED_SIZE
    possible: list[Digest | None] = attrs.field(factory=lambda: [None])
    """What its temporary file may hold."""
    done: int = 0

    async def run(self, goes_on: Callable[[], bool]) -> None:
        while goes_on():
            try:
                await self.dice.choice([self.replace, self.write_over])()
                self.done += 1
            except (B2MountError, OSError):
                await trio.lowlevel.checkpoint()  # what had begun may be done or not

    async def replace(self) -> None:
        temporary, data = f"shared/.tmp-{self.name}", self.dice.randbytes(self.size)
        self.possible.append(digest(data))  # and what an earlier try has left
        self.ledger.note(Claim(temporary, {temporary: self.possible}))
        try:
            fh = await self.files_of.create(temporary)
            await self.files_of.write(fh, 0, data)
            await self.files_of.close(fh)
        except OSError as error:
            if is_full(error):
                self.possible.append(digest(b""))
                self.ledger.note(Claim(temporary, {temporary: self.possible}))
            raise
        name = f"shared/replaced{self.dice.randint(0, 1)}"
        self.ledger.note(SharedWrite(name, data, Word.BEGUN, in_place=False))
        await self.files_of.rename(temporary, name)
        self.ledger.note(SharedWrite(name, data, Word.RETURNED, in_place=False))
        self.possible = [None]
        self.ledger.note(Claim(temporary, {temporary: self.possible}))

    async def write_over(self) -> None:
        name, data = f"shared/written{self.dice.randint(0, 1)}", self.dice.randbytes(self.size)
        self.ledger.note(SharedWrite(name, data, Word.BEGUN, in_place=True))
        fh = await self.files_of.create(name)
        await self.files_of.write(fh, 0, data)
        await self.files_of.close(fh)
        self.ledger.note(SharedWrite(name, data, Word.RETURNED, in_place=True))


def is_full(error: Exception) -> bool:
    """Whether the disk is: then what a program has begun to write stays as it is."""
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def some_bytes(dice: random.Random, size: int) -> bytes:
    """That tell where they come from; of a large file they repeat, so that notes of it stay short."""
    if size <= TILE:
        return dice.randbytes(size)
    tile = dice.randbytes(TILE)
    return (tile * (size // TILE + 1))[:size]


def patched(data: bytes, offset: int, piece: bytes) -> bytes:
    """What a file holds after a write."""
    return data[:offset].ljust(offset, b"\0") + piece + data[offset + len(piece) :]
