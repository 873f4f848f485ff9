"""A hostile bucket, as the kernel would see it: everything is listed, looked up, opened, read and changed,
without a kernel, over the real store client."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio
import trio.testing

from b2mount.errors import B2MountError
from b2mount.filesystem.areas import Areas
from b2mount.filesystem.dot_b2 import make_past
from b2mount.filesystem.node import Node
from b2mount.fuse.attributes import entry_attributes, statvfs
from b2mount.fuse.errno_map import ERRNO
from b2mount.model import AttributeChange, Kind, ObjectPath
from b2mount.namespace.posix_info import AttributeDefaults
from tests.filesystem.world import ME, World, world
from tests.fuzz import hostile
from tests.fuzz.answers import MOST_REQUESTS, HostileB2
from tests.fuzz.choices import Choices
from tests.fuzz.confined import confined
from tests.fuzz.target import Target, throws
from tests.fuzz.wire import ROW, InlineLane, quick_store_on, reply

ROOT: Final = 1
LONGEST: Final = 7200.0
MOST_NODES: Final = 16
MOST_ENTRIES: Final = 500
INFO_KEYS: Final = ("posix", "symlink", "xattr", "src_last_modified_millis", "large_file_sha1", "b2-expires")
LISTINGS: Final = ("b2_list_file_names", "b2_list_file_versions")
SPECIAL: Final = (
    "mode=100644",
    "mode=120777",
    "mode=10644",
    "mode=20644,rdev=259",
    "mode=140755",
    "mode=40700",
)


@attrs.define(eq=False)
class HostileBucket:
    """Lists its rows as B2 does, whatever they are called; now and then it answers as nobody should."""

    choices: Choices
    rows: list[dict[str, object]] = attrs.field(init=False)
    worse: HostileB2 = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.worse = HostileB2(self.choices)
        self.rows = sorted((self._row(n) for n in range(self.choices.below(24))), key=_order)

    def __call__(self, call: str, request: bytes) -> bytes:
        if self.choices.chance(10):
            return self.worse(call, request)
        self.worse.count()
        if call in LISTINGS:
            page = self._page(json.loads(request.partition(b"\r\n\r\n")[2]), call)
            spoiled = hostile.spoiled(self.choices, page) if self.choices.chance(6) else page
            return reply(json.dumps(spoiled).encode())
        if call == "b2_upload_file":
            return reply(json.dumps(self._uploaded(request)).encode())
        if call in ("b2_copy_file", "b2_hide_file"):
            asked = json.loads(request.partition(b"\r\n\r\n")[2])
            return reply(json.dumps({**ROW, "fileName": asked["fileName"], "fileId": "4_zc"}).encode())
        return self.worse._plain(call)

    def _row(self, number: int) -> dict[str, object]:
        choices = self.choices
        name = "/".join(hostile.text(choices) for _ in range(1 + choices.below(2)))
        info = {choices.of(INFO_KEYS): hostile.text(choices) for _ in range(choices.below(3))}
        if choices.chance(3):
            info["posix"] = choices.of(SPECIAL)
        row = {
            **ROW,
            "fileName": name.encode("utf-8", "replace").decode(),
            "fileId": f"4_z{number}",
            "contentLength": choices.of((0, 4, 4, 4, 131072, 2**63 - 1)),
            "uploadTimestamp": choices.of((1000, 0, 2000, 2**62, 2**63 - 1)),
            "action": choices.of(("upload", "upload", "upload", "hide", "start")),
            "fileInfo": info,
        }
        changed = hostile.spoiled(choices, row) if choices.chance(5) else row
        return changed if isinstance(changed, dict) else row

    def _page(self, asked: dict[str, Any], call: str) -> dict[str, object]:
        prefix, start, delimiter = (asked.get(key) or "" for key in ("prefix", "startFileName", "delimiter"))
        most = min(asked.get("maxFileCount") or 1000, 1 + self.choices.below(30))
        found: dict[tuple[str, str], dict[str, object]] = {}
        for row in self.rows:
            name = row.get("fileName")
            if not isinstance(name, str) or not name.startswith(prefix) or name < start:
                continue
            if call == LISTINGS[0] and row.get("action") != "upload":
                continue
            below, slash, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            folder = prefix + below + slash
            if slash:
                found.setdefault((folder, ""), {"action": "folder", "fileName": folder})
            else:
                found[name, str(row.get("fileId"))] = row
        rows = list(found.values())
        at = [row.get("fileId") for row in rows if row.get("fileName") == start]
        rows = rows[at.index(asked["startFileId"]) if asked.get("startFileId") in at else 0 :]
        following = rows[most] if len(rows) > most else {}
        next_name = following.get("fileName")
        return {"files": rows[:most], "nextFileName": next_name, "nextFileId": following.get("fileId")}

    def _uploaded(self, request: bytes) -> dict[str, object]:
        head = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        fields = dict(line.lower().partition(": ")[::2] for line in head)
        exact = dict(line.partition(": ")[::2] for line in head)
        name = next((v for k, v in exact.items() if k.lower() == "x-bz-file-name"), "")
        size = int(fields.get("content-length", "40")) - 40
        sha1 = request[-40:].decode("latin-1")
        decoded = _unquoted(name)
        return {**ROW, "fileName": decoded, "contentLength": size, "contentSha1": sha1, "fileId": "4_zu"}


def _unquoted(name: str) -> str:
    return bytes(_bytes_of(name)).decode("utf-8", "replace")


def _bytes_of(name: str) -> bytearray:
    from_url = bytearray()
    pieces = name.replace("+", " ").split("%")
    from_url += pieces[0].encode("latin-1")
    for piece in pieces[1:]:
        from_url += bytes.fromhex(piece[:2]) + piece[2:].encode("latin-1")
    return from_url


def _order(row: dict[str, object]) -> str:
    name = row.get("fileName")
    return name if isinstance(name, str) else ""


@attrs.define(eq=False)
class Kernel:
    """Asks as the kernel does, and believes nothing."""

    areas: Areas
    choices: Choices
    live: World

    async def ask(self, question: Awaitable[Any]) -> Any:
        """The answer, or None for an error that the kernel is told of in words of its own."""
        try:
            return await question
        except B2MountError as error:
            assert any(kind in ERRNO for kind in type(error).__mro__), error
        except OSError as error:
            assert error.errno is not None, error
        return None

    async def walk(self) -> None:
        """Through the live bucket, then through `.b2`."""
        waiting = [self.areas.getattr(ROOT)]
        entrance = await self.ask(self.areas.lookup(ROOT, ".b2"))
        if entrance is not None:
            waiting.append(entrance)
        for _ in range(MOST_NODES):
            if not waiting:
                return
            node = waiting.pop(0)
            if node.attributes.kind is Kind.DIRECTORY:
                waiting += await self.entries(node)
                waiting += await self.guess(node)
            else:
                await self.file(node)

    async def entries(self, directory: Node) -> list[Node]:
        """What a directory holds, each name a name, each only once."""
        fh = await self.ask(_now(self.areas.opendir, directory.number))
        found: dict[str, Node] = {}
        position, before = 0, -1
        while fh is not None and position != before and len(found) < MOST_ENTRIES:
            before = position
            try:
                async for at, name, node in self.areas.readdir(fh, before):
                    assert at != position
                    position = at
                    check_name(name)
                    assert name not in found, name
                    found[name] = node
                    check_node(node)
                    if name not in (".", ".."):
                        self.areas.looked_up(node.number)
            except (B2MountError, OSError):
                break
        for name in list(found)[:6]:
            again = await self.ask(self.areas.lookup(directory.number, name))
            if again is not None:
                check_node(again)
        if fh is not None:
            self.areas.releasedir(fh)
        return [node for name, node in found.items() if name not in (".", "..")]

    async def guess(self, directory: Node) -> list[Node]:
        """Names that the kernel might ask for: no slash, no NUL, not `.` or `..`, of any length."""
        name = hostile.text(self.choices).encode("utf-8", "surrogatepass")
        name = name.replace(b"/", b"").replace(b"\0", b"") or b"x"
        if name in (b".", b".."):
            return []
        found = await self.ask(self.areas.lookup(directory.number, os.fsdecode(name)))
        if found is None:
            return []
        check_node(found)
        return [found]

    async def file(self, node: Node) -> None:
        """Whatever can be read of it."""
        number = node.number
        if node.attributes.kind is Kind.SYMLINK:
            target = await self.ask(_now(self.areas.readlink, number))
            if target is not None:
                assert 0 < len(os.fsencode(target)) <= 4095
                assert "\0" not in target
        for name in (await self.ask(_now(self.areas.listxattr, number)) or [])[:20]:
            assert 0 < len(name) <= 255
            assert b"\0" not in name
            value = await self.ask(self.areas.getxattr(number, name))
            assert value is None or isinstance(value, bytes)
        if node.attributes.kind is not Kind.FILE:
            return
        fh = await self.ask(self.areas.open(number, os.O_RDONLY, ME))
        if fh is not None:
            for offset in (0, max(0, node.attributes.size - 2)):
                data = await self.ask(self.areas.read(fh, offset, 4096))
                assert data is None or len(data) <= 4096
            await self.ask(self.areas.flush(fh))
            await self.ask(self.areas.release(fh))

    async def change(self) -> None:
        """A few changes under any names."""
        areas, choices = self.areas, self.choices
        for _ in range(choices.below(5)):
            name, other = (self._name() for _ in range(2))
            found = await self.ask(areas.lookup(ROOT, name))
            number = ROOT if found is None else found.number
            changes: tuple[Callable[[], Awaitable[Any]], ...] = (
                lambda name=name: areas.mkdir(ROOT, name, 0o777, ME),  # type: ignore[misc]  # as for all of these
                lambda name=name, other=other: areas.symlink(ROOT, name, other, ME),  # type: ignore[misc]
                lambda name=name: areas.unlink(ROOT, name),  # type: ignore[misc]
                lambda name=name: areas.rmdir(ROOT, name),  # type: ignore[misc]
                lambda name=name, other=other: areas.rename((ROOT, name), (ROOT, other), may_replace=True),  # type: ignore[misc]
                lambda name=name, other=other: areas.exchange((ROOT, name), (ROOT, other)),  # type: ignore[misc]
                lambda name=name: self._write(name),  # type: ignore[misc]
                lambda number=number: areas.setattr(  # type: ignore[misc]
                    number, AttributeChange(mode=0o600, modified_ns=-(2**62)), size=None, fh=None
                ),
                lambda number=number, other=other: areas.setxattr(  # type: ignore[misc]
                    number, b"user." + os.fsencode(other)[:250], choices.piece()
                ),
            )
            await self.ask(choices.of(changes)())

    async def _write(self, name: str) -> None:
        _, fh = await self.areas.create(ROOT, name, 0o644, os.O_WRONLY, ME)
        try:
            await self.areas.write(fh, self.choices.of((0, 4, 2**20)), b"data")
            await self.areas.flush(fh)
        finally:
            await self.areas.release(fh)

    def _name(self) -> str:
        raw = hostile.text(self.choices).encode("utf-8", "surrogatepass")
        return os.fsdecode(raw.replace(b"/", b"").replace(b"\0", b"").strip(b".") or b"file")


async def _now(work: Callable[[int], Any], number: int) -> Any:
    return work(number)


def check_name(name: str) -> None:
    """What the kernel would refuse, or a program trip over."""
    raw = os.fsencode(name)
    assert raw
    assert len(raw) <= 255
    assert b"/" not in raw
    assert b"\0" not in raw


def check_node(node: Node) -> None:
    """What the kernel's structure holds."""
    entry = entry_attributes(node)
    assert entry.st_ino > 0
    assert 0 <= entry.st_size < 2**63
    assert entry.st_mode >> 12 in (1, 2, 4, 6, 8, 10, 12)


def bucket(data: bytes) -> None:
    """All of it once, with a bucket made of the bytes."""
    choices = Choices(data)
    server = HostileBucket(choices)

    async def main() -> None:
        store = quick_store_on(server, retry_for=1)
        try:
            await store._client.authorize()
        except B2MountError:
            return
        try:
            with confined() as place, trio.fail_after(LONGEST):
                async with world(
                    store, place, root=ObjectPath("bucket", ""), lane=InlineLane("disk", 4)
                ) as live:
                    await _use(live, choices, server)
        finally:
            store.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def _use(live: World, choices: Choices, server: HostileBucket) -> None:
    defaults = AttributeDefaults(1000, 1000, 0o022)
    fs = live.fs
    past = make_past(
        fs, live.namespace, live.store, fs._fetcher, fs._mover, defaults, lambda told: None, deletes=False
    )
    kernel = Kernel(Areas(fs, past), choices, live)
    for step in (kernel.walk, kernel.change, kernel.walk):
        server.worse.requests = 0
        await step()
        assert server.worse.requests < MOST_REQUESTS, "no end of requests"
    statvfs(kernel.areas.statfs())


TARGETS: Final = (Target("bucket", bucket, throws("bucket", 4, 900), longest=8192),)
