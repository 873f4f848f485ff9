"""A mixed load: several programs at once on one file system, and each keeps account of what it was told."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import attrs
import trio

from b2mount.errors import B2MountError
from b2mount.model import AttributeChange
from tests.crash.claims import Claims, Ledger, SharedWrite, Word
from tests.filesystem.world import World

OPERATIONS = 9
WRITERS = ("small", "large", "mixed")
SHARERS = 3
SMALL, LARGE = (0, 1, 20, 60, 99), (120, 180, 250, 400)
"""Bytes; LARGE ones are sent in parts with the limits of these tests."""
SHARED_SIZE = 64

SEEDED = {f"{home}/{kind}": size for home in WRITERS for kind, size in (("s", 50), ("l", 300))}
"""What is in B2 before: name, size."""


def seeded() -> dict[str, bytes]:
    """The bytes of what is in B2 before."""
    return {name: random.Random(name).randbytes(size) for name, size in SEEDED.items()}


class GaveUp(Exception):
    """Something that a program did has failed: what it says of those names stays open."""


@attrs.define(eq=False)
class Writer:
    """A program with a directory of its own."""

    world: World
    ledger: Ledger
    dice: random.Random
    home: str
    sizes: tuple[int, ...]
    files: dict[str, bytes]
    """What it believes its names to hold; those it is unsure of are not among them."""
    claims: Claims
    history: dict[str, list[bytes | None]] = attrs.field(factory=dict)
    """All that the files and those that they replaced have held, by the name they have now."""
    made: int = 0

    async def run(self) -> None:
        self.history = {name: [data] for name, data in self.files.items()}
        common = [self.create, self.overwrite, self.edit, self.edit, self.keep_a_log, self.rename]
        rare = [self.rename_while_open, self.rename_over, self.unlink, self.resize, self.rename_directory]
        for _ in range(OPERATIONS):
            try:
                await self.dice.choice(common + rare)()
            except GaveUp:
                continue

    @asynccontextmanager
    async def doing(
        self,
        after: Mapping[str, bytes | None],
        *,
        over: Mapping[str, list[bytes]] | None = None,
        moves: Mapping[str, str] | None = None,
    ) -> AsyncIterator[None]:
        """Inside, the names may hold what they held or what they will hold; with `over` bytes of all these
        stages, with `moves` the bytes are under the old name or the new."""
        claims = self.claims
        for name, data in after.items():
            claims.whole[name] = [*claims.whole.get(name, [None]), data]
        claims.mixed.update(over or {})
        moving = [((old, new), self.files[old]) for old, new in (moves or {}).items()]
        for old in moves or {}:  # what B2 has may stay where it is, once the new name has what is newer
            claims.whole[old] += self.history.get(old, [])
        claims.somewhere += moving
        self.ledger.note((self.home, claims))
        for name in after:
            self.files.pop(name, None)
        try:
            yield
        except (B2MountError, OSError) as error:
            for old, new in (moves or {}).items():  # a copy of what B2 had may have been made all the same
                claims.whole[new] += self.history.get(old, [])
            self.ledger.note((self.home, claims))
            raise GaveUp from error
        for old, new in (moves or {}).items():
            self.history[new] = self.history.get(new, []) + self.history.pop(old, [])
        for name, data in after.items():
            self.history.setdefault(name, []).append(data)
            claims.whole[name] = [data]
            claims.mixed.pop(name, None)
            if data is not None:
                self.files[name] = data
        claims.somewhere = [each for each in claims.somewhere if each not in moving]
        self.ledger.note((self.home, claims))

    # -- what it does ----------------------------------------------------------------------

    async def create(self) -> None:
        data = self.data()
        name = await self.new_name()
        async with self.doing({name: data}):
            fh = await self.world.create(name)
            await self.write_in_pieces(fh, data)
            await self.world.close(fh)

    async def overwrite(self) -> None:
        name, data = self.some_file(), self.data()
        async with self.doing({name: data}):
            fh = await self.world.open(name, os.O_WRONLY | os.O_TRUNC)
            await self.write_in_pieces(fh, data)
            await self.world.close(fh)

    async def edit(self) -> None:
        """In place: a few writes, an fsync, a few writes, the close."""
        name = self.some_file()
        fh = await self.world.open(name, os.O_RDWR)
        if self.dice.random() < 0.5:
            await self.change(fh, name, self.world.fs.fsync)
        await self.change(fh, name, self.world.close)

    async def change(self, fh: int, name: str, ending: Callable[[int], Awaitable[None]]) -> None:
        stages = [self.files[name]]
        writes: list[tuple[int, bytes]] = []
        for _ in range(self.dice.randint(1, 3)):
            offset = self.dice.choice([0, len(stages[-1]), self.dice.randint(0, len(stages[-1]) + 20)])
            writes.append((offset, self.dice.randbytes(self.dice.randint(1, 40))))
            stages.append(patched(stages[-1], *writes[-1]))
        async with self.doing({name: stages[-1]}, over={name: stages}):
            for offset, data in writes:
                await self.world.fs.write(fh, offset, data)
                await self.pause()
            await ending(fh)

    async def keep_a_log(self) -> None:
        """A new file that grows, each line synced."""
        name, data = await self.new_name(), b""
        fh = None
        for _ in range(self.dice.randint(1, 3)):
            line = self.dice.randbytes(self.dice.randint(1, 80))
            async with self.doing({name: data + line}):
                fh = fh or await self.world.create(name)
                await self.world.fs.write(fh, len(data), line)
                await self.world.fs.fsync(fh)
            data += line
        async with self.doing({name: data}):
            await self.world.close(fh or 0)

    async def resize(self) -> None:
        name = self.some_file()
        before, size = self.files[name], self.dice.choice([0, 10, 150, 500])
        after = before[:size].ljust(size, b"\0")
        number = (await self.world.node(name)).number
        async with self.doing({name: after}, over={name: [before, after]}):
            await self.world.fs.setattr(number, AttributeChange(), size=size, fh=None)

    async def unlink(self) -> None:
        name = self.some_file()
        async with self.doing({name: None}):
            await self.world.unlink(name)

    async def rename(self) -> None:
        old, new = self.some_file(), await self.new_name()
        await self.move(old, new)

    async def rename_over(self) -> None:
        old, new = self.some_file(), self.some_file()
        if old != new:
            await self.move(old, new)

    async def move(self, old: str, new: str) -> None:
        async with self.doing({old: None, new: self.files[old]}, moves={old: new}):
            await self.world.rename(old, new)

    async def rename_while_open(self) -> None:
        old, new = self.some_file(), await self.new_name()
        fh = await self.world.open(old, os.O_RDWR)
        if self.dice.random() < 0.7:
            await self.change(fh, old, self.world.fs.fsync)
        await self.move(old, new)
        await self.change(fh, new, self.world.close)

    async def rename_directory(self) -> None:
        inside = sorted({name.rpartition("/")[0] for name in self.files if name.count("/") > 1})
        if not inside:
            return
        old, new = self.dice.choice(inside), f"{self.home}/d{self.made}"
        self.made += 1
        moves = {name: new + name.removeprefix(old) for name in self.files if name.startswith(f"{old}/")}
        after: dict[str, bytes | None] = {moves[name]: self.files[name] for name in moves}
        after.update(dict.fromkeys(moves))
        there = (name for name, data in self.claims.whole.items() if data != [None] and name not in moves)
        if any(name.startswith(f"{old}/") for name in there):
            return  # there are files in it of which it can't say what they hold
        async with self.doing(after, moves=moves):
            await self.world.rename(old, new)

    # -- helpers ---------------------------------------------------------------------------

    def some_file(self) -> str:
        if not self.files:
            raise GaveUp
        return self.dice.choice(sorted(self.files))

    async def new_name(self) -> str:
        """At the top of its directory, or in a subdirectory, which is made."""
        self.made += 1
        if self.dice.random() < 0.5:
            return f"{self.home}/{self.made}"
        directory = f"{self.home}/sub"
        try:
            await self.world.node(directory)
        except B2MountError:
            try:
                await self.world.mkdir(directory)
            except B2MountError as error:
                raise GaveUp from error
        return f"{directory}/{self.made}"

    def data(self) -> bytes:
        return self.dice.randbytes(self.dice.choice(self.sizes))

    async def write_in_pieces(self, fh: int, data: bytes) -> None:
        step = self.dice.choice([len(data), 30, 70]) or 1
        for offset in range(0, len(data), step):
            await self.world.fs.write(fh, offset, data[offset : offset + step])
            await self.pause()

    async def pause(self) -> None:
        if self.dice.random() < 0.3:
            await trio.sleep(self.dice.random() * 0.002)


@attrs.define(eq=False)
class Sharer:
    """One of several programs that write the same names: by a rename over them, and in place."""

    world: World
    ledger: Ledger
    dice: random.Random
    number: int
    kernel: trio.Lock
    """The kernel changes the names of one directory one after the other."""
    possible: list[bytes | None] = attrs.field(factory=lambda: [None])
    """What its temporary file may hold."""

    async def run(self) -> None:
        for _ in range(OPERATIONS):
            work = self.dice.choice([self.replace, self.write_over])
            try:
                await work()
            except (B2MountError, OSError):
                continue  # what had begun may be done or not

    async def replace(self) -> None:
        temporary, data = f"shared/.tmp{self.number}", self.dice.randbytes(SHARED_SIZE)
        self.possible.append(data)  # and what an earlier try has left
        claims = Claims({temporary: self.possible})
        self.ledger.note((temporary, claims))
        async with self.kernel:
            fh = await self.world.create(temporary, flags=os.O_WRONLY | os.O_TRUNC)
        await self.world.fs.write(fh, 0, data)
        await self.world.close(fh)
        name = f"shared/replaced{self.dice.randint(0, 1)}"
        async with self.kernel:
            self.ledger.note(SharedWrite(name, data, Word.BEGUN, in_place=False))
            await self.world.rename(temporary, name)
            self.ledger.note(SharedWrite(name, data, Word.RETURNED, in_place=False))
        self.possible = [None]
        self.ledger.note((temporary, Claims({temporary: self.possible})))

    async def write_over(self) -> None:
        name, data = f"shared/written{self.dice.randint(0, 1)}", self.dice.randbytes(SHARED_SIZE)
        self.ledger.note(SharedWrite(name, data, Word.BEGUN, in_place=True))
        async with self.kernel:
            fh = await self.world.create(name, flags=os.O_WRONLY | os.O_TRUNC)
        await self.world.fs.write(fh, 0, data)
        await self.world.close(fh)
        self.ledger.note(SharedWrite(name, data, Word.RETURNED, in_place=True))


def patched(data: bytes, offset: int, piece: bytes) -> bytes:
    """What a file holds after a write."""
    return data[:offset].ljust(offset, b"\0") + piece + data[offset + len(piece) :]


def before_the_load(ledger: Ledger) -> None:
    """Whenever the process dies, what is in B2 before must be there."""
    for home in WRITERS:
        ledger.note((home, Claims({n: [data] for n, data in seeded().items() if n.startswith(f"{home}/")})))


async def run_load(world: World, ledger: Ledger, seed: int) -> None:
    """All programs, until they are done and everything is in B2."""
    kernel = trio.Lock()
    dice = random.Random(seed)
    before = seeded()
    async with trio.open_nursery() as nursery:
        for home, sizes in zip(WRITERS, (SMALL, LARGE, SMALL + LARGE), strict=True):
            own = {name: data for name, data in before.items() if name.startswith(f"{home}/")}
            claims = Claims({name: [data] for name, data in own.items()})
            writer = Writer(world, ledger, random.Random(dice.random()), home, sizes, own, claims)
            nursery.start_soon(writer.run)
        for number in range(SHARERS):
            sharer = Sharer(world, ledger, random.Random(dice.random()), number, kernel)
            nursery.start_soon(sharer.run)
    with suppress(B2MountError):  # what can't be sent now is left to the next mount
        await world.write_back.flush()
