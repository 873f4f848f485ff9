"""A process that writes files and dies at a given step, and what it had promised by then."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from b2mount.model import ObjectMetadata
from b2mount.writing import upload_plan
from b2mount.writing.staged_file import StagedFile
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import InlineLane, T, Ts, World, at, attributes, open_world

DIED = 77
MINIMUM_PART = 16
MUTATING = frozenset(
    {
        "put",
        "start_multipart",
        "put_part",
        "copy_part",
        "finish_multipart",
        "abort_multipart",
        "copy",
        "hide",
        "delete_version",
    }
)

State = dict[str, bytes]
SEEDED: State = {"base": bytes(range(200)), "dir/1": b"one", "dir/2": b"two", "dir/3": b"three"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def small_parts() -> Iterator[None]:
    """Limits at which files of a few hundred bytes are large ones."""
    limits = {"MINIMUM_PART": MINIMUM_PART, "SINGLE_PUT_LIMIT": 100, "SMALLEST_PUT_PART": 32, "COPY_PART": 64}
    before = {name: getattr(upload_plan, name) for name in limits}
    for name, value in limits.items():
        setattr(upload_plan, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(upload_plan, name, value)


@attrs.define(eq=False)
class Steps:
    """Counts the moments at which the process may die, and dies at one of them."""

    directory: Path
    fatal: int | None
    taken: int = 0

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.fatal:
            os._exit(DIED)

    def note(self, word: str, state: State) -> None:
        """Tell the world, beyond death, that an operation begins or has returned."""
        with (self.directory / "promises").open("a") as file:
            file.write(json.dumps([word, {key: data.hex() for key, data in state.items()}]) + "\n")

    @contextmanager
    def watching_the_disk(self) -> Iterator[None]:
        """fdatasync and fsync are steps, and what they made durable is set aside."""
        real_data, real_full = os.fdatasync, os.fsync
        synced = self.directory / "synced"
        synced.mkdir(exist_ok=True)

        def fdatasync(fd: int) -> None:
            self.step()
            real_data(fd)
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
            write_whole(synced / path.name, path.read_bytes())
            self.step()

        def fsync(fd: int) -> None:
            self.step()
            real_full(fd)
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
            write_whole(synced / f"names.{path.name}", "\n".join(os.listdir(path)).encode())
            self.step()

        os.fdatasync, os.fsync = fdatasync, fsync  # type: ignore[assignment]  # put in its place for the test
        try:
            yield
        finally:
            os.fdatasync, os.fsync = real_data, real_full


@attrs.define(eq=False)
class DeadlyLane(InlineLane):
    """Every call that must not be cancelled is a step, before and after."""

    steps: Steps

    async def run_uncancelled(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        self.steps.step()
        result = await super().run_uncancelled(func, *args)
        self.steps.step()
        return result


class DeadlyStore(MemoryStore):
    """Every request that changes something is a step, before and after; B2 outlives the process."""

    steps: Steps | None = None
    place: Path

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name not in MUTATING or self.steps is None:
            return found

        async def verb(*args: object) -> object:
            self.steps.step()  # type: ignore[union-attr]  # it is there, or the test fails
            result = await found(*args)
            save(self, self.place)
            self.steps.step()  # type: ignore[union-attr]  # it is there, or the test fails
            return result

        return verb


def write_whole(place: Path, data: bytes) -> None:
    """All of it is there or what was there before, whenever the process dies."""
    beside = place.with_name(f".{place.name}")
    beside.write_bytes(data)
    beside.rename(place)


def save(store: DeadlyStore, place: Path) -> None:
    steps, store.steps = store.steps, None
    write_whole(place, pickle.dumps(store))
    store.steps = steps


def load(place: Path) -> DeadlyStore:
    store = pickle.loads(place.read_bytes())
    assert isinstance(store, DeadlyStore)
    return store


def new_store() -> DeadlyStore:
    store = DeadlyStore("bucket", minimum_part_size=MINIMUM_PART, now_ms=now_ms)
    for key, data in SEEDED.items():
        store.seed(at(key), data, {"src_last_modified_millis": key})
    return store


@attrs.define(eq=False)
class Program:
    """What the process does; every operation says what the names hold when it has returned."""

    world: World
    steps: Steps
    waits: bool
    state: State = attrs.field(factory=lambda: dict(SEEDED))

    async def operation(self, work: Callable[[], Awaitable[object]], **changes: bytes | None) -> None:
        after = {**self.state, **{k.replace("__", "/"): v for k, v in changes.items()}}
        self.state = {key: data for key, data in after.items() if data is not None}
        self.steps.note("begun", self.state)
        await work()
        self.steps.note("returned", self.state)

    async def close(self, staged: StagedFile, key: str) -> None:
        info = {"src_last_modified_millis": f"{key} {staged.size}"}
        sealed = staged.seal(at(key), ObjectMetadata("text/plain", info), attributes(staged.size))
        await self.world.write_back.submit(sealed)
        if self.waits:
            await self.world.write_back.settle(sealed.staging_id)

    async def sync(self, staged: StagedFile, key: str) -> None:
        info = {"src_last_modified_millis": f"{key} synced"}
        await self.world.write_back.checkpoint(
            staged.seal(at(key), ObjectMetadata("text/plain", info), attributes(staged.size))
        )

    async def run(self) -> None:
        await self.small_and_synced()
        await self.large_and_edited()
        await self.renamed_and_removed()
        await self.moved()
        await self.world.write_back.flush()
        self.steps.note("returned", self.state)

    async def small_and_synced(self) -> None:
        await self.operation(lambda: self.close(self.world.new(b"small"), "small"), small=b"small")
        synced = self.world.new(b"synced")
        await self.operation(lambda: self.sync(synced, "synced"), synced=b"synced")
        synced.write(6, b" and closed")
        await self.operation(lambda: self.close(synced, "synced"), synced=b"synced and closed")
        await self.operation(lambda: self.close(self.world.new(b""), "empty"), empty=b"")

    async def large_and_edited(self) -> None:
        large = bytes(reversed(range(250)))
        await self.operation(lambda: self.close(self.world.new(large), "large"), large=large)
        version = await self.world.store.stat(at("base"))
        edited = self.world.new(base=version, size=version.size)
        edited.write(90, b"EDIT")
        after = SEEDED["base"][:90] + b"EDIT" + SEEDED["base"][94:]
        await self.operation(lambda: self.close(edited, "base"), base=after)

    async def renamed_and_removed(self) -> None:
        write_back = self.world.write_back
        temporary = self.world.new(b"written under another name")
        await self.operation(lambda: self.sync(temporary, "tmp"), tmp=b"written under another name")
        await self.operation(
            lambda: write_back.rename(temporary.staging_id, at("small2")),
            tmp=None,
            small2=b"written under another name",
        )
        await self.operation(lambda: self.close(temporary, "small2"))
        gone = self.world.new(b"gone")
        await self.operation(lambda: self.sync(gone, "gone"), gone=b"gone")
        await self.operation(lambda: write_back.forget(gone.staging_id), gone=None)
        gone.discard()
        again = self.world.new(b"smaller")
        await self.operation(lambda: self.close(again, "small"), small=b"smaller")

    async def moved(self) -> None:
        store = self.world.store
        moves = [(await store.stat(at(f"dir/{n}")), at(f"new/{n}")) for n in "123"]
        names = {f"dir__{n}": None for n in "123"} | {f"new__{n}": SEEDED[f"dir/{n}"] for n in "123"}
        await self.operation(lambda: self.world.mover.move(moves), **names)


def live_and_die(directory: Path, fatal: int | None, *, waits: bool) -> int:
    """Run the program in a child process. Returns how many steps it took, or -1 when it died."""
    place = directory / "b2"
    save(new_store(), place)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _child(directory, fatal, waits)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED), f"the program failed: {code}"
    return int((directory / "steps").read_text()) if code == 0 else -1


def _child(directory: Path, fatal: int | None, waits: bool) -> int:
    steps = Steps(directory, fatal)
    store = load(directory / "b2")
    store.steps, store.place = steps, directory / "b2"

    async def main() -> None:
        lane = DeadlyLane("disk", 1, steps)
        async with open_world(directory, store, lane=lane, delay=0 if waits else 0.001) as world:
            await Program(world, steps, waits).run()

    with small_parts(), steps.watching_the_disk():
        trio.run(main)
    (directory / "steps").write_text(str(steps.taken))
    return 0


def cut_the_power(directory: Path) -> None:
    """What was not synced is gone: names that no fsync of the directory saw, bytes that no
    fdatasync saw."""
    names = directory / "synced" / "names.staging"
    durable = set(names.read_text().split("\n")) if names.exists() else set()
    for path in (directory / "staging").iterdir():
        copy = directory / "synced" / path.name
        if path.name not in durable or not copy.exists():
            path.unlink()
        else:
            shutil.copy(copy, path)


def promised(directory: Path) -> tuple[State, State]:
    """What the names hold after all that had returned; and after what had begun as well."""
    returned = begun = dict(SEEDED)
    promises = directory / "promises"
    for line in promises.read_text().splitlines() if promises.exists() else ():
        word, state = json.loads(line)
        begun = {key: bytes.fromhex(data) for key, data in state.items()}
        if word == "returned":
            returned = begun
    return returned, begun
