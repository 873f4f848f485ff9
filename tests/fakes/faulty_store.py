"""FaultyStore: wraps an ObjectStore; fails, holds and counts its verbs.

    store = FaultyStore(MemoryStore())
    store.fail("put", Unavailable("no network"))              # the next put, before the work
    store.fail("put", Unavailable("lost"), at=3, after=True)  # the third from now, after the work
    hold = store.hold("read_range")                           # the next one waits ...
    await hold.reached.wait(); hold.release.set()             # ... until released
    store.calls["put"], store.log

Nothing else changes: what is not failed, held or flipped is what the wrapped store does.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import attrs
import trio

from b2mount.errors import CorruptData
from b2mount.model import (
    ByteRange,
    ByteSource,
    ObjectMetadata,
    ObjectPath,
    ObjectVersion,
    Protection,
    Retention,
)
from b2mount.store.interface import (
    Account,
    Bucket,
    MultipartUpload,
    ObjectPage,
    ObjectStore,
    PartRecord,
    VersionCursor,
    VersionPage,
)

T = TypeVar("T")


@attrs.frozen(eq=False)
class Hold:
    """A verb that waits: `reached` is set when it is there, set `release` to let it go on."""

    reached: trio.Event = attrs.field(factory=trio.Event)
    release: trio.Event = attrs.field(factory=trio.Event)


@attrs.frozen(eq=False)
class Fault:
    """What is to happen to the calls first..last of a verb."""

    first: int
    last: int
    after: bool
    error: Exception | None = None
    hold: Hold | None = None


@attrs.frozen
class Call:
    """One call as it was made."""

    verb: str
    arguments: tuple[object, ...]


class Spoiler:
    """Hands bytes on, the one at `offset` with its bits flipped."""

    def __init__(self, offset: int | None, deliver: Callable[[bytes], None]) -> None:
        self.digest = hashlib.sha1(usedforsecurity=False)
        self._offset = offset
        self._deliver = deliver
        self._position = 0

    def deliver(self, data: bytes) -> None:
        if self._offset is not None and self._position <= self._offset < self._position + len(data):
            spoilt = bytearray(data)
            spoilt[self._offset - self._position] ^= 0xFF
            data = bytes(spoilt)
        self._position += len(data)
        self.digest.update(data)
        self._deliver(data)


class FaultyStore(ObjectStore):
    """See the module. `at` counts from the next call of the verb: 1 is the next one."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.log: list[Call] = []
        self.running: Counter[str] = Counter()
        self.most_running: Counter[str] = Counter()
        self._faults: dict[str, list[Fault]] = {}
        self._flips: dict[int, int] = {}

    def fail(self, verb: str, error: Exception, *, at: int = 1, times: int = 1, after: bool = False) -> None:
        """Raise `error` from the `at`-th call on, `times` times; before its work or after it."""
        first = self.calls[verb] + at
        self._add(verb, Fault(first, first + times - 1, after, error=error))

    def hold(self, verb: str, *, at: int = 1, after: bool = False) -> Hold:
        """Make the `at`-th call wait, before its work or after it."""
        hold = Hold()
        first = self.calls[verb] + at
        self._add(verb, Fault(first, first, after, hold=hold))
        return hold

    def flip(self, offset: int, *, at: int = 1) -> None:
        """Deliver one wrong byte in the `at`-th read_range: the one at `offset` of its span. As with
        B2Store, a read of the whole object ends in CorruptData then, another goes unnoticed."""
        self._flips[self.calls["read_range"] + at] = offset

    def _add(self, verb: str, fault: Fault) -> None:
        if not hasattr(self.inner, verb):
            raise ValueError(f"no such verb: {verb}")
        self._faults.setdefault(verb, []).append(fault)

    async def _do(self, verb: str, arguments: tuple[object, ...], work: Callable[[], Awaitable[T]]) -> T:
        self.calls[verb] += 1
        number = self.calls[verb]
        self.log.append(Call(verb, arguments))
        self.running[verb] += 1
        self.most_running[verb] = max(self.most_running[verb], self.running[verb])
        try:
            await self._meet(verb, number, after=False)
            result = await work()
            await self._meet(verb, number, after=True)
            return result
        finally:
            self.running[verb] -= 1

    async def _meet(self, verb: str, number: int, *, after: bool) -> None:
        for fault in self._faults.get(verb, ()):
            if fault.first <= number <= fault.last and fault.after is after:
                if fault.hold is not None:
                    fault.hold.reached.set()
                    await fault.hold.release.wait()
                if fault.error is not None:
                    raise fault.error

    # -- ObjectStore ---------------------------------------------------------------------------

    @property
    def account(self) -> Account:
        return self.inner.account

    @property
    def now_ms(self) -> int:
        return self.inner.now_ms

    @property
    def setting(self) -> str:
        return self.inner.setting

    def check_key(self, version: ObjectVersion) -> None:
        self.inner.check_key(version)

    async def try_key(self, version: ObjectVersion) -> None:
        await self._do("try_key", (version,), lambda: self.inner.try_key(version))

    async def list_buckets(self) -> tuple[Bucket, ...]:
        return await self._do("list_buckets", (), self.inner.list_buckets)

    async def create_bucket(self, name: str) -> Bucket:
        return await self._do("create_bucket", (name,), lambda: self.inner.create_bucket(name))

    async def delete_bucket(self, name: str) -> None:
        await self._do("delete_bucket", (name,), lambda: self.inner.delete_bucket(name))

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        return await self._do(
            "list_objects",
            (bucket, prefix, delimiter, start, limit),
            lambda: self.inner.list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit),
        )

    async def list_versions(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        start: VersionCursor | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        return await self._do(
            "list_versions",
            (bucket, prefix, delimiter, start, limit),
            lambda: self.inner.list_versions(bucket, prefix, delimiter=delimiter, start=start, limit=limit),
        )

    async def stat(self, path: ObjectPath) -> ObjectVersion:
        return await self._do("stat", (path,), lambda: self.inner.stat(path))

    async def read_range(
        self, version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]
    ) -> None:
        offset = self._flips.pop(self.calls["read_range"] + 1, None)
        spoiler = Spoiler(offset, deliver)

        async def read() -> None:
            await self.inner.read_range(version, span, spoiler.deliver)
            whole = span == ByteRange(0, version.size)
            if offset is not None and whole and version.sha1 not in (None, spoiler.digest.hexdigest()):
                raise CorruptData(f"the bytes of {version.path} do not match their SHA-1")

        await self._do("read_range", (version, span), read)

    async def put(self, path: ObjectPath, source: ByteSource, metadata: ObjectMetadata) -> ObjectVersion:
        return await self._do("put", (path, source, metadata), lambda: self.inner.put(path, source, metadata))

    async def start_multipart(self, path: ObjectPath, metadata: ObjectMetadata) -> MultipartUpload:
        return await self._do(
            "start_multipart", (path, metadata), lambda: self.inner.start_multipart(path, metadata)
        )

    async def put_part(self, upload: MultipartUpload, number: int, source: ByteSource) -> PartRecord:
        return await self._do(
            "put_part", (upload, number, source), lambda: self.inner.put_part(upload, number, source)
        )

    async def copy_part(
        self, upload: MultipartUpload, number: int, version: ObjectVersion, span: ByteRange
    ) -> PartRecord:
        return await self._do(
            "copy_part",
            (upload, number, version, span),
            lambda: self.inner.copy_part(upload, number, version, span),
        )

    async def finish_multipart(self, upload: MultipartUpload, sha1s: Sequence[str]) -> ObjectVersion:
        return await self._do(
            "finish_multipart",
            (upload, tuple(sha1s)),
            lambda: self.inner.finish_multipart(upload, sha1s),
        )

    async def abort_multipart(self, upload: MultipartUpload) -> None:
        await self._do("abort_multipart", (upload,), lambda: self.inner.abort_multipart(upload))

    async def list_parts(self, upload: MultipartUpload) -> tuple[PartRecord, ...]:
        return await self._do("list_parts", (upload,), lambda: self.inner.list_parts(upload))

    async def list_unfinished(self, bucket: str, prefix: str) -> tuple[MultipartUpload, ...]:
        return await self._do(
            "list_unfinished", (bucket, prefix), lambda: self.inner.list_unfinished(bucket, prefix)
        )

    async def copy(
        self, version: ObjectVersion, path: ObjectPath, metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        return await self._do(
            "copy", (version, path, metadata), lambda: self.inner.copy(version, path, metadata)
        )

    async def hide(self, path: ObjectPath) -> None:
        await self._do("hide", (path,), lambda: self.inner.hide(path))

    async def delete_version(self, version: ObjectVersion) -> None:
        await self._do("delete_version", (version,), lambda: self.inner.delete_version(version))

    async def protection(self, version: ObjectVersion) -> Protection:
        return await self._do("protection", (version,), lambda: self.inner.protection(version))

    async def set_retention(self, version: ObjectVersion, retention: Retention | None) -> None:
        await self._do(
            "set_retention", (version, retention), lambda: self.inner.set_retention(version, retention)
        )

    async def set_legal_hold(self, version: ObjectVersion, *, on: bool) -> None:
        await self._do("set_legal_hold", (version, on), lambda: self.inner.set_legal_hold(version, on=on))

    async def authorize_download(self, bucket: str, prefix: str, seconds: int) -> str:
        return await self._do(
            "authorize_download",
            (bucket, prefix, seconds),
            lambda: self.inner.authorize_download(bucket, prefix, seconds),
        )

    def under_way(self, path: ObjectPath) -> int:
        return self.inner.under_way(path)

    def url(self, path: ObjectPath) -> str:
        return self.inner.url(path)

    def url_of(self, version: ObjectVersion) -> str:
        return self.inner.url_of(version)
