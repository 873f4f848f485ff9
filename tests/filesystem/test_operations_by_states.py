"""Every operation on a file in every state that it can be in: what comes of it, what programs see then,
and what B2 has in the end.

A model of names and bytes says what is expected; the states differ in where the bytes are. `f` is the
file in its state, `other` a clean one beside it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
import trio.testing

from b2mount import errors
from b2mount.model import AttributeChange, ByteSource, Literal, ObjectMetadata, ObjectPath
from tests.fakes.faulty_store import FaultyStore, Hold
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world

OLD: Final = b"old content"
EDITED: Final = b"EDITcontent"
THEIRS: Final = b"theirs"
NOTHING = AttributeChange()


@attrs.define
class Model:
    """What programs must see."""

    names: dict[str, bytes]
    handle: bytes
    """What who has `f` open reads and writes."""
    is_named: bool
    """Whether that is what the name `f` stands for, or will be once it was changed and closed."""
    path: str = "f"
    """The name that the open file has, or gets back."""
    regains: bool = False
    """Whether it gets its name back when it is changed: the last close wins."""

    def get(self, name: str) -> bytes:
        if name not in self.names:
            raise errors.NotFound(name)
        return self.names[name]

    def put(self, name: str, data: bytes) -> None:
        """Bytes through a name."""
        self.names[name] = data
        if self.is_named and name == self.path:
            self.handle = data

    def write(self, data: bytes) -> None:
        """Bytes through the handle."""
        self.handle = data
        self.is_named = self.is_named or self.regains
        if self.is_named:
            self.names[self.path] = data

    def rename(self, old: str, new: str) -> None:
        data = self.get(old)
        if self.is_named and new == self.path:
            self.is_named = False
        del self.names[old]
        self.names[new] = data
        if self.is_named and old == self.path:
            self.path = new

    def exchange(self, one: str, other: str) -> None:
        self.names[one], self.names[other] = self.get(other), self.get(one)
        if self.is_named and self.path in (one, other):
            self.path = other if self.path == one else one

    def remove(self, name: str) -> None:
        self.get(name)
        del self.names[name]
        if self.is_named and name == self.path:
            self.is_named = False


@attrs.define
class Case:
    """A file in its state, and what is expected of it."""

    w: World
    model: Model
    fh: int | None = None
    """Somebody has it open, to read and write."""
    hold: Hold | None = None
    """The upload that is under way."""

    async def handle(self) -> int:
        """One that is open already, or is opened for the operation."""
        if self.fh is None:
            self.fh = await self.w.open("f", os.O_RDWR)
        return self.fh


def path(name: str) -> ObjectPath:
    return ObjectPath("bucket", name)


# -- states ----------------------------------------------------------------------------------

Setting = Callable[[World, FaultyStore], Awaitable[Case]]


def named(data: bytes) -> Model:
    return Model({"f": data, "other": b"other"}, data, is_named=True)


async def edit(w: World) -> int:
    fh = await w.open("f", os.O_RDWR)
    await w.fs.write(fh, 0, b"EDIT")
    return fh


async def clean(w: World, _store: FaultyStore) -> Case:
    return Case(w, named(OLD))


async def opened(w: World, _store: FaultyStore) -> Case:
    return Case(w, named(OLD), await w.open("f", os.O_RDWR))


async def editing(w: World, _store: FaultyStore) -> Case:
    return Case(w, named(EDITED), await edit(w))


async def synced(w: World, _store: FaultyStore) -> Case:
    fh = await edit(w)
    await w.fs.fsync(fh)
    return Case(w, named(EDITED), fh)


async def sealed(w: World, _store: FaultyStore) -> Case:
    await w.close(await edit(w))
    assert w.fs.pending()
    return Case(w, named(EDITED))


async def uploading(w: World, store: FaultyStore) -> Case:
    hold = store.hold("put")
    await w.close(await edit(w))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hurry, w)
        await hold.reached.wait()
        nursery.cancel_scope.cancel()
    return Case(w, named(EDITED), hold=hold)


async def hurry(w: World) -> None:
    await w.fs.flush_path()


async def failed(w: World, store: FaultyStore) -> Case:
    store.fail("put", errors.OverQuota("cap"))
    await w.close(await edit(w))
    with pytest.raises(errors.OverQuota):
        await w.fs.flush_path()
    return Case(w, named(EDITED))


async def removed(w: World, _store: FaultyStore) -> Case:
    fh = await edit(w)
    await w.unlink("f")
    return Case(w, Model({"other": b"other"}, EDITED, is_named=False), fh)


async def replaced(w: World, store: FaultyStore) -> Case:
    """By somebody else, while it is open here."""
    fh = await w.open("f", os.O_RDWR)
    await store.put(path("f"), ByteSource((Literal(THEIRS),)), ObjectMetadata())
    w.namespace.forget_listing(None)
    assert await w.read("f") == THEIRS
    return Case(w, Model({"f": THEIRS, "other": b"other"}, OLD, is_named=False, regains=True), fh)


async def gone(w: World, store: FaultyStore) -> Case:
    """Removed by somebody else, while nobody has it open."""
    await store.hide(path("f"))
    w.namespace.forget_listing(None)
    return Case(w, Model({"other": b"other"}, b"", is_named=False))


STATES: Final[list[Setting]] = [
    clean, opened, editing, synced, sealed, uploading, failed, removed, replaced, gone,
]  # fmt: skip
WITHOUT_HANDLE: Final = (gone,)

# -- operations ------------------------------------------------------------------------------

Operation = Callable[[Case], Awaitable[object]]
Expectation = Callable[[Model], object]


async def number(case: Case) -> int:
    return (await case.w.node("f")).number


async def look(case: Case) -> int:
    return (await case.w.node("f")).attributes.size


async def read(case: Case) -> bytes:
    return await case.w.read("f")


async def read_handle(case: Case) -> bytes:
    return bytes(await case.w.fs.read(await case.handle(), 0, 1000))


async def write(case: Case) -> None:
    fh = await case.w.open("f", os.O_WRONLY)
    await case.w.fs.write(fh, 3, b"***")
    await case.w.close(fh)


async def write_handle(case: Case) -> None:
    await case.w.fs.write(await case.handle(), 3, b"***")


async def rewrite(case: Case) -> None:
    fh = await case.w.open("f", os.O_WRONLY | os.O_TRUNC)
    await case.w.fs.write(fh, 0, b"rewritten")
    await case.w.close(fh)


async def cut(case: Case) -> None:
    await case.w.fs.setattr(await number(case), NOTHING, size=2, fh=None)


async def lengthen(case: Case) -> None:
    await case.w.fs.setattr(await number(case), NOTHING, size=20, fh=None)


async def sync_handle(case: Case) -> None:
    await case.w.fs.fsync(await case.handle())


async def flush_handle(case: Case) -> None:
    await case.w.fs.flush(await case.handle())


async def chmod(case: Case) -> int:
    change = AttributeChange(mode=0o600, modified_ns=5)
    await case.w.fs.setattr(await number(case), change, size=None, fh=None)
    found = (await case.w.node("f")).attributes
    return found.mode + found.modified_ns


async def set_attribute(case: Case) -> bytes:
    await case.w.fs.setxattr(await number(case), b"user.a", b"value")
    return await case.w.fs.getxattr(await number(case), b"user.a")


async def create(case: Case) -> None:
    await case.w.close(await case.w.create("f", flags=os.O_WRONLY | os.O_EXCL))


async def mkdir(case: Case) -> None:
    await case.w.mkdir("f")


async def rename(case: Case) -> None:
    await case.w.rename("f", "new")


async def rename_over(case: Case) -> None:
    await case.w.rename("f", "other")


async def replace(case: Case) -> None:
    await case.w.rename("other", "f")


async def rename_if_free(case: Case) -> None:
    await case.w.rename("f", "other", may_replace=False)


async def exchange(case: Case) -> None:
    await case.w.fs.exchange(await case.w.split("f"), await case.w.split("other"))


async def unlink(case: Case) -> None:
    await case.w.unlink("f")


async def rmdir(case: Case) -> None:
    await case.w.rmdir("f")


def starred(data: bytes) -> bytes:
    return data[:3] + b"***" + data[6:]


def rewritten(model: Model) -> None:
    model.get("f")
    model.put("f", b"rewritten")


def exists(model: Model, error: type[Exception]) -> None:
    model.get("f")
    raise error


def made(model: Model) -> None:
    if "f" in model.names:
        raise errors.AlreadyExists("f")
    model.names["f"] = b""


def made_directory(model: Model) -> None:
    if "f" in model.names:
        raise errors.AlreadyExists("f")


OPERATIONS: Final[list[tuple[Operation, Expectation]]] = [
    (look, lambda model: len(model.get("f"))),
    (read, lambda model: model.get("f")),
    (read_handle, lambda model: model.handle),
    (write, lambda model: model.put("f", starred(model.get("f")))),
    (write_handle, lambda model: model.write(starred(model.handle))),
    (rewrite, rewritten),
    (cut, lambda model: model.put("f", model.get("f")[:2])),
    (lengthen, lambda model: model.put("f", model.get("f").ljust(20, b"\0"))),
    (sync_handle, lambda model: None),
    (flush_handle, lambda model: None),
    (chmod, lambda model: model.get("f") and 0o600 + 5),
    (set_attribute, lambda model: model.get("f") and b"value"),
    (create, made),
    (mkdir, made_directory),
    (rename, lambda model: model.rename("f", "new")),
    (rename_over, lambda model: model.rename("f", "other")),
    (replace, lambda model: model.rename("other", "f")),
    (rename_if_free, lambda model: exists(model, errors.AlreadyExists)),
    (exchange, lambda model: model.exchange("f", "other")),
    (unlink, lambda model: model.remove("f")),
    (rmdir, lambda model: exists(model, errors.NotADirectory)),
]

# -- the test --------------------------------------------------------------------------------


@asynccontextmanager
async def in_state(store: FaultyStore, directory: Path, state: Setting) -> AsyncIterator[Case]:
    for name, data in (("f", OLD), ("other", b"other")):
        await store.put(path(name), ByteSource((Literal(data),)), ObjectMetadata())
    async with world(store, directory, waits=False, delay=3600) as w:
        yield await state(w, store)


async def outcome(work: Callable[[], Awaitable[object]]) -> object:
    try:
        return await work()
    except errors.B2MountError as error:
        return type(error)


def expected_of(expectation: Expectation, model: Model) -> object:
    try:
        return expectation(model)
    except errors.B2MountError as error:
        return type(error)


async def seen(w: World) -> dict[str, bytes]:
    names = await w.names()
    return {name: await w.read(name) for name in names if not (await is_directory(w, name))}


async def is_directory(w: World, name: str) -> bool:
    return (await w.node(name)).attributes.kind.value == "directory"


async def do(case: Case, operation: Operation) -> object:
    """Some operations wait for an upload that has begun: it goes on when they have begun."""
    if case.hold is None:
        return await outcome(lambda: operation(case))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(release_soon, case.hold)
        return await outcome(lambda: operation(case))
    raise AssertionError("unreachable")


async def release_soon(hold: Hold) -> None:
    await trio.testing.wait_all_tasks_blocked(0.005)
    hold.release.set()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda pair: pair[0].__name__)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_operation(
    tmp_path: Path, state: Setting, operation: tuple[Operation, Expectation], expect_warning
) -> None:
    work, expectation = operation
    if state in WITHOUT_HANDLE and work.__name__.endswith("_handle"):
        expectation = lambda model: model.get("f")  # noqa: E731  # one line each reads best
    if state is failed:
        expect_warning("stays staged: cap")
    if state is replaced and work is write_handle:
        expect_warning("was changed by others while it was open here")
    store = FaultyStore(MemoryStore())
    async with in_state(store, tmp_path / "first", state) as case:
        wanted = expected_of(expectation, case.model)
        assert await do(case, work) == wanted
        if case.fh is not None:
            assert bytes(await case.w.fs.read(case.fh, 0, 1000)) == case.model.handle
        assert await seen(case.w) == case.model.names
        if case.fh is not None:
            await case.w.close(case.fh)
        await case.w.fs.flush_path()
        assert await seen(case.w) == case.model.names
    async with world(store, tmp_path / "second") as w:
        assert await seen(w) == case.model.names
