"""The adapter alone: what it asks of the file system, and what becomes of the answers. No kernel."""

from __future__ import annotations

import errno
import stat
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pyfuse3
import pytest

from b2mount import errors
from b2mount.filesystem.node import Node
from b2mount.filesystem.status import SpaceStatus
from b2mount.fuse.kernel import KernelPages
from b2mount.fuse.operations import Operations
from b2mount.model import AttributeChange, Attributes, Kind
from b2mount.threads import ThreadLane

FILE = Attributes(Kind.FILE, 0o640, 7, 8, size=1000, modified_ns=10**18 + 7, changed_ns=5, accessed_ns=6)
DIRECTORY = Attributes(Kind.DIRECTORY, 0o1777, 0, 0, size=0, modified_ns=1, changed_ns=2, accessed_ns=3)


@attrs.define
class Caller:
    uid: int = 1
    gid: int = 2
    umask: int = 0o22
    pid: int = 3


CALLER: Any = Caller()


class FakeFileSystem:
    """Answers what it was given, raises what it was given, remembers what it was asked."""

    def __init__(self, answer: object = None, error: Exception | None = None) -> None:
        self.answer = answer
        self.error = error
        self.asked: list[tuple[Any, ...]] = []
        self.known: list[int] = []

    def looked_up(self, number: int) -> None:
        self.known.append(number)

    def absent_for(self, parent: int, name: str) -> float:
        return 12.5

    def _do(self, *call: object) -> Any:
        self.asked.append(call)
        if self.error is not None:
            raise self.error
        return self.answer

    def getattr(self, number: int) -> Node:
        node: Node = self._do("getattr", number)
        return node

    def statfs(self) -> SpaceStatus:
        space: SpaceStatus = self._do("statfs")
        return space

    def forget(self, number: int, count: int) -> None:
        self._do("forget", number, count)

    async def getxattr(self, number: int, name: bytes) -> bytes:
        value: bytes = self._do("getxattr", number, name)
        return value

    def listxattr(self, number: int) -> list[bytes]:
        names: list[bytes] = self._do("listxattr", number)
        return names

    async def readdir(self, fh: int, start: int) -> AsyncIterator[tuple[int, str, Node]]:
        for item in self._do("readdir", fh, start):
            yield item

    def __getattr__(self, name: str) -> Any:
        async def call(*args: object, **kwargs: object) -> Any:
            return self._do(name, *args, *kwargs.items())

        return call


def adapter(answer: object = None, error: Exception | None = None) -> tuple[Operations, FakeFileSystem]:
    fake = FakeFileSystem(answer, error)
    return Operations(fake, KernelPages(ThreadLane("kernel", 1).run)), fake  # type: ignore[arg-type]  # a stand-in


async def test_attributes_are_set_to_the_last_field() -> None:
    asked, _ = adapter(Node(42, FILE, 3.5))
    entry = await asked.getattr(42, CALLER)
    assert entry.st_ino == 42
    assert entry.st_mode == stat.S_IFREG | 0o640
    assert (entry.st_uid, entry.st_gid, entry.st_size) == (7, 8, 1000)
    assert entry.st_blocks == 2  # never 0 for a file with bytes: tar -S believes it
    assert (entry.st_mtime_ns, entry.st_ctime_ns, entry.st_atime_ns) == (10**18 + 7, 5, 6)
    assert (entry.entry_timeout, entry.attr_timeout) == (3.5, 3.5)
    assert entry.st_nlink == 1


async def test_an_absent_name_is_remembered_by_the_kernel() -> None:
    asked, fake = adapter(error=errors.NotFound("x"))
    entry = await asked.lookup(1, b"x", CALLER)
    assert (entry.st_ino, entry.entry_timeout) == (0, 12.5)
    assert fake.known == []


async def test_names_are_bytes_outside_and_text_inside() -> None:
    asked, fake = adapter(Node(9, DIRECTORY, 1))
    entry = await asked.lookup(1, b"caf\xc3\xa9", CALLER)
    assert fake.asked == [("lookup", 1, "café")]
    assert entry.st_ino == 9


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.OverQuota("cap"), errno.EDQUOT), (errors.Unavailable("gone"), errno.EIO)],
)
async def test_errors_become_errnos(error: Exception, code: int, expect_warning) -> None:
    expect_warning("flush failed")
    asked, _ = adapter(error=error)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await asked.flush(3)
    assert caught.value.errno == code


async def test_forget_never_raises(expect_warning) -> None:
    expect_warning("forget met a bug")
    asked, _ = adapter(error=KeyError("a bug"))
    await asked.forget([(1, 1), (2, 1)])


async def test_only_what_the_kernel_took_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[bytes, int]] = []

    def reply(token: object, name: bytes, entry: pyfuse3.EntryAttributes, position: int) -> bool:
        taken.append((name, position))
        return len(taken) < 4

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    names = [".", "..", "a", "b", "c"]
    entries = [(i + 1, name, Node(10 + i, DIRECTORY, 1)) for i, name in enumerate(names)]
    asked, fake = adapter(entries)
    await asked.readdir(5, 0, None)  # type: ignore[arg-type]  # a stand-in
    assert taken == [(b".", 1), (b"..", 2), (b"a", 3), (b"b", 4)]
    assert fake.known == [12]  # b was refused; . and .. don't count


async def test_setattr_says_only_what_was_asked() -> None:
    wanted = pyfuse3.EntryAttributes()
    wanted.st_mode = stat.S_IFREG | 0o4755
    wanted.st_size = 77

    @attrs.define
    class Fields:
        update_mode: bool = True
        update_uid: bool = False
        update_gid: bool = False
        update_mtime: bool = False
        update_atime: bool = False
        update_size: bool = True

    asked, fake = adapter(Node(4, FILE, 1))
    await asked.setattr(4, wanted, Fields(), None, CALLER)  # type: ignore[arg-type]  # a stand-in
    assert fake.asked == [("setattr", 4, AttributeChange(mode=0o4755), ("size", 77), ("fh", None))]


async def test_names_are_exchanged() -> None:
    asked, fake = adapter()
    await asked.rename(1, b"a", 2, b"b", pyfuse3.RENAME_EXCHANGE, CALLER)
    assert fake.asked == [("exchange", (1, "a"), (2, "b"))]


@pytest.mark.parametrize("flags", [pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE, 4])
async def test_renames_of_other_kinds_are_refused(flags: int) -> None:
    asked, fake = adapter()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await asked.rename(1, b"a", 1, b"b", flags, CALLER)
    assert caught.value.errno == errno.EINVAL
    assert fake.asked == []


async def test_hard_links_are_refused_so_that_programs_copy() -> None:
    asked, _ = adapter()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await asked.link(4, 1, b"x", CALLER)
    assert caught.value.errno == errno.EPERM


async def test_extended_attributes_are_bytes_on_both_sides() -> None:
    asked, fake = adapter(b"value")
    assert await asked.getxattr(4, b"user.x", CALLER) == b"value"
    await asked.setxattr(4, b"user.x", b"\xff", CALLER)
    await asked.removexattr(4, b"user.x", CALLER)
    names = [b"user.x", b"user.y"]
    listing, _ = adapter(names)
    assert await listing.listxattr(4, CALLER) == names
    assert fake.asked == [
        ("getxattr", 4, b"user.x"),
        ("setxattr", 4, b"user.x", b"\xff"),
        ("removexattr", 4, b"user.x"),
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NoAttribute("x"), errno.ENODATA),
        (errors.NotSupported("x"), errno.EOPNOTSUPP),  # ENODATA would double the calls of ls -l
        (errors.FixedAttribute("x"), errno.EPERM),
        (errors.NoRoom("x"), errno.ENOSPC),
    ],
)
async def test_extended_attributes_that_can_not_be_had(error: Exception, code: int) -> None:
    asked, _ = adapter(error=error)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await asked.getxattr(4, b"user.x", CALLER)
    assert caught.value.errno == code


async def test_df() -> None:
    asked, _ = adapter(SpaceStatus(4096, 100, 70, 50, 250))
    data = await asked.statfs(CALLER)
    assert (data.f_blocks, data.f_bavail, data.f_bfree, data.f_namemax) == (100, 70, 70, 250)
