"""What each operation answers when the key lacks a capability, or B2 does not know it any more; what was
written stays staged."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

from b2mount.access import find_access, tell_of_new_key
from b2mount.emulator.clock import Clock, system_milliseconds
from b2mount.emulator.server import EmulatorServer
from b2mount.errors import AccessDenied, B2MountError, NotAuthorized
from b2mount.fuse.errno_map import errno_of
from b2mount.model import AttributeChange, ObjectMetadata, ObjectPath
from b2mount.options import Unlink, mount_options
from b2mount.store import b2_login
from b2mount.store.b2_store import B2Store, open_b2_store
from b2mount.store.credentials import Credentials
from tests.conftest import WarningLog
from tests.fakes.memory_store import ALL_CAPABILITIES, MemoryStore, literal
from tests.filesystem.world import World, world

Work = Callable[[World], Awaitable[object]]
OPTIONS: Final = mount_options("bucket", "/m", [])


async def chmod(w: World, path: str) -> None:
    await w.fs.setattr((await w.node(path)).number, AttributeChange(mode=0o600), size=None, fh=None)
    await w.write_back.flush()


async def setxattr(w: World, path: str) -> None:
    await w.fs.setxattr((await w.node(path)).number, b"user.b2.content_type", b"text/html")
    await w.write_back.flush()


async def edit(w: World, path: str) -> None:
    fh = await w.open(path, os.O_WRONLY)
    await w.fs.write(fh, 0, b"D")
    await w.close(fh)


OPERATIONS: Final[dict[str, Work]] = {
    "readdir": lambda w: w.names(),
    "read": lambda w: w.read("a"),
    "create": lambda w: w.write("new", b"data"),
    "replace": lambda w: w.write("b", b"other"),
    "edit": lambda w: edit(w, "c"),
    "chmod": lambda w: chmod(w, "d"),
    "setxattr": lambda w: setxattr(w, "e"),
    "unlink": lambda w: w.unlink("f"),
    "rename": lambda w: w.rename("g", "h"),
    "mkdir": lambda w: w.mkdir("dir"),
    "rmdir": lambda w: w.rmdir("empty"),
    "url": lambda w: w.fs.by_path.url("a", None),
    "url --expires": lambda w: w.fs.by_path.url("a", 60),
}
READING: Final = {"readdir", "read", "url", "url --expires"}
COPYING: Final = {"edit", "chmod", "setxattr", "rename"}
"""B2 reads what it copies."""
REMOVING: Final = {"unlink", "rmdir"}

REFUSED: Final[dict[str, set[str]]] = {
    "listBuckets": set(),  # the key is bound to the bucket, and B2 says its id at the authorization
    "listFiles": set(OPERATIONS),
    "readFiles": {"read", *COPYING},
    "writeFiles": set(OPERATIONS) - READING,
    "deleteFiles": set(),
    "shareFiles": {"url --expires"},
    "writeBuckets": set(),
    "deleteBuckets": set(),
}
"""What can't be done without a capability."""
WRITTEN: Final = {"create": "new", "replace": "b", "edit": "c", "chmod": "d", "setxattr": "e"}
"""Operations after whose failure something is staged, and the name of what."""


@attrs.define
class Time:
    """The emulator's, which can be put on."""

    ahead: int = 0

    def now(self) -> int:
        return system_milliseconds() + self.ahead


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server(time: Time) -> Iterator[EmulatorServer]:
    with EmulatorServer(clock=Clock(time.now)) as server:
        yield server


async def fill(server: EmulatorServer) -> None:
    master = await open_b2_store(Credentials(server.key_id, server.application_key, server.url))
    try:
        for bucket in ("bucket", "second", "a-third"):
            await master.create_bucket(bucket)
        for name in (*"abcdefg", "empty/.bzEmpty"):
            await master.put(ObjectPath("bucket", name), literal(b"data"), ObjectMetadata())
    finally:
        master.close()


def make_key(
    server: EmulatorServer,
    without: Sequence[str] = (),
    buckets: Sequence[str] | None = ("bucket",),
    **limits: object,
) -> Credentials:
    def make() -> Credentials:
        known = {bucket.name: bucket.bucket_id for bucket in server.state.buckets.all()}
        ids = None if buckets is None else tuple(known[name] for name in buckets)
        rights = tuple(sorted(ALL_CAPABILITIES - set(without)))
        key = server.keys.create("a key", rights, buckets=ids, **limits)
        return Credentials(key.key_id, key.secret, server.url)

    return server.run(make)


@asynccontextmanager
async def opened(
    key: Credentials, find_again: Callable[[], Credentials] | None = None
) -> AsyncIterator[B2Store]:
    store = await open_b2_store(key, retry_for=1, find_again=find_again)
    try:
        yield store
    finally:
        store.close()


async def outcomes(w: World) -> dict[str, str]:
    """The errno of each operation that fails."""
    found = {}
    for name, work in OPERATIONS.items():
        try:
            await work(w)
        except B2MountError as error:
            found[name] = errno.errorcode[errno_of(error)]
    return found


# -- capabilities ------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", sorted(ALL_CAPABILITIES))
async def test_each_capability_missing(
    missing: str, server: EmulatorServer, tmp_path: Path, expect_warning: WarningLog
) -> None:
    await fill(server)
    refused = REFUSED[missing]
    if refused & set(WRITTEN) and missing != "listFiles":
        expect_warning("stays staged: the application key is not allowed to do this")
    async with opened(make_key(server, (missing,))) as store, world(store, tmp_path) as w:
        assert await outcomes(w) == dict.fromkeys(refused, "EACCES")
        unsent = {} if missing == "listFiles" else {WRITTEN[name] for name in refused & set(WRITTEN)}
        assert {file.path for file in w.fs.pending()} == set(unsent)
        assert all("not allowed" in file.words for file in w.fs.pending())
    async with opened(make_key(server)) as store, world(store, tmp_path) as w:  # with a better key
        await w.write_back.flush()
        if missing != "listFiles":
            assert [await w.read(name) for name in ("new", "b", "c")] == [b"data", b"other", b"Data"]
            assert w.fs.getattr((await w.node("d")).number).attributes.mode == 0o600
        assert w.fs.pending() == ()


async def test_removing_for_good_without_the_right_to_it(
    server: EmulatorServer, tmp_path: Path, expect_warning: WarningLog
) -> None:
    expect_warning("stays, hidden")
    await fill(server)
    key = make_key(server, ("deleteFiles",))
    async with opened(key) as store, world(store, tmp_path, deletes=True) as w:
        assert await outcomes(w) == dict.fromkeys(REMOVING, "EACCES")
        assert {"f", "empty"} <= set(await w.names())


@pytest.mark.parametrize(
    ("missing", "remark", "read_only", "remarkable"),
    [
        ("readFiles", "files can't be read, renamed or changed in part", False, True),
        ("writeFiles", "nothing can be changed: it is mounted read-only", True, True),
        ("shareFiles", "`b2mount url --expires` makes no links", False, False),
        ("deleteFiles", None, False, False),
        ("writeBuckets", None, False, False),
        ("deleteBuckets", None, False, False),
    ],
)
async def test_what_is_said_at_the_start(
    missing: str, remark: str | None, read_only: bool, remarkable: bool
) -> None:
    access = await find_access(MemoryStore(capabilities=ALL_CAPABILITIES - {missing}), OPTIONS)
    assert access.remarks == (() if remark is None else (f"{remark} (the key has no {missing})",))
    assert (access.read_only, access.is_remarkable) == (read_only, remarkable)
    assert access.missing == (() if remark is None else (missing,))


def test_what_is_said_of_a_new_key(expect_warning: WarningLog, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tell_of_new_key(MemoryStore().account, OPTIONS)
    assert caplog.messages == []
    tell_of_new_key(MemoryStore(capabilities=ALL_CAPABILITIES - {"shareFiles"}).account, OPTIONS)
    expect_warning("files can't be read")
    tell_of_new_key(MemoryStore(capabilities=ALL_CAPABILITIES - {"readFiles"}).account, OPTIONS)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


@pytest.mark.parametrize("missing", ["listFiles", "listBuckets"])
async def test_what_makes_a_mount_pointless(missing: str) -> None:
    with pytest.raises(AccessDenied, match=f"no {missing}"):
        await find_access(MemoryStore(capabilities=ALL_CAPABILITIES - {missing}), OPTIONS)


@pytest.mark.parametrize("options", [[("keep_versions", 1)], [("unlink", Unlink.DELETE)]])
async def test_options_that_need_a_right(options: list[tuple[str, object]]) -> None:
    store = MemoryStore(capabilities=ALL_CAPABILITIES - {"deleteFiles"})
    with pytest.raises(AccessDenied, match="no deleteFiles"):
        await find_access(store, mount_options("bucket", "/m", options))


# -- limits ------------------------------------------------------------------------------------


async def test_one_of_two_buckets(server: EmulatorServer, tmp_path: Path) -> None:
    await fill(server)
    key = make_key(server, ("listBuckets",), ("bucket", "second"))
    async with opened(key) as store:
        access = await find_access(store, OPTIONS)
        assert (str(access.root), access.remarks) == ("b2://bucket/", ())
        async with world(store, tmp_path) as w:
            assert await outcomes(w) == {}
        with pytest.raises(B2MountError, match="no bucket 'a-third' that this key can see"):
            await find_access(store, mount_options("a-third", "/m", []))


async def test_beside_a_prefix(server: EmulatorServer) -> None:
    await fill(server)
    async with opened(make_key(server, prefix="mine/")) as store:
        access = await find_access(store, OPTIONS)
        assert str(access.source) == "b2://bucket/mine"
        assert access.remarks == ("b2://bucket/mine is mounted: the key sees only a part of the bucket",)
        with pytest.raises(AccessDenied, match="sees only 'bucket/mine/'"):
            await find_access(store, mount_options("bucket/yours", "/m", []))


# -- a key that ends while it is in use --------------------------------------------------------


def revoke(server: EmulatorServer, time: Time, key: Credentials) -> None:
    server.run(lambda: server.keys.delete(key.key_id))


def expire(server: EmulatorServer, time: Time, key: Credentials) -> None:
    time.ahead = 3_600_001


@pytest.mark.parametrize("end", [revoke, expire])
async def test_a_key_that_ends(
    end: Callable[[EmulatorServer, Time, Credentials], None],
    server: EmulatorServer,
    time: Time,
    tmp_path: Path,
    expect_warning: WarningLog,
) -> None:
    """Reads and writes are EACCES, what is written stays staged, and the next mount sends it."""
    await fill(server)
    expect_warning("does not know this application key, or it was revoked")
    key = make_key(server, expires=system_milliseconds() + 3_600_000)
    async with opened(key, lambda: key) as store, world(store, tmp_path) as w:
        assert store.account.expires_ms is not None
        await w.names()
        end(server, time, key)
        for work in (lambda w: w.read("a"), lambda w: w.write("new", b"kept"), lambda w: w.unlink("b")):
            with pytest.raises(B2MountError) as caught:
                await work(w)
            assert errno_of(caught.value) == errno.EACCES
        (unsent,) = w.fs.pending()
        assert (unsent.path, unsent.state) == ("new", "failed")
        assert "revoked" in (unsent.reason or "")
    async with opened(make_key(server)) as store, world(store, tmp_path) as w:
        await w.write_back.flush()
        assert await w.read("new") == b"kept"


async def test_another_key_takes_its_place(
    server: EmulatorServer, time: Time, tmp_path: Path, expect_warning: WarningLog
) -> None:
    """It is looked for where the old one was; what could not be sent can be then."""
    await fill(server)
    expect_warning("does not know this application key, or it was revoked")
    keys = [make_key(server)]
    told: list[str] = []
    async with opened(keys[0], lambda: keys[-1]) as store, world(store, tmp_path) as w:
        store.on_new_key(lambda: told.append("new"))
        await w.names()
        revoke(server, time, keys[0])
        with pytest.raises(B2MountError):
            await w.write("new", b"kept")
        keys.append(make_key(server))
        assert await w.read("a") == b"data"
        assert told == ["new"]
        await w.write_back.flush()
        assert await w.read("new") == b"kept"


@pytest.mark.parametrize("case", ["elsewhere", "another account", "not known either", "none is there"])
async def test_not_every_key_does(
    case: str, server: EmulatorServer, time: Time, monkeypatch: pytest.MonkeyPatch, expect_warning: WarningLog
) -> None:
    await fill(server)
    key, other = make_key(server), make_key(server)
    if case == "another account":
        expect_warning("is of another account")
        monkeypatch.setattr(b2_login, "_account_of", lambda found: "another")

    def find_again() -> Credentials:
        if case == "none is there":
            raise NotAuthorized("no key")
        if case == "elsewhere":
            return attrs.evolve(other, realm="http://127.0.0.1:1")
        return other if case == "another account" else attrs.evolve(other, application_key="wrong")

    async with opened(key, find_again) as store:
        revoke(server, time, key)
        with pytest.raises(NotAuthorized, match="revoked"):
            await store.list_objects("bucket", "")
