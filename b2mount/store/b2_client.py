"""B2Client: one request after the other until it succeeds; the meeting of trio and b2sdk.

Invariants: one try is one lane call is one request; every request is in the ledger; none goes out
faster than its Pace allows; a refused token is renewed once for everybody who met it; an upload URL
serves one upload at a time; what leaves here is one of our exceptions, or OSError of the local disk.

Must not know: what the replies mean.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import attrs
import trio
from b2sdk.v3 import B2Session, EncryptionSetting

from b2mount.errors import B2MountError, CorruptData
from b2mount.model import ByteRange, ByteSource, ObjectPath, ObjectVersion
from b2mount.store import b2_calls, b2_login, b2_records
from b2mount.store.b2_calls import UploadAddress
from b2mount.store.b2_errors import (
    is_damaged_upload,
    is_transient,
    needs_new_token,
    needs_new_upload_url,
)
from b2mount.store.b2_login import Login
from b2mount.store.b2_session import Authorization, close_account
from b2mount.store.credentials import Credentials
from b2mount.store.delivery import Delivery
from b2mount.store.ledger import Ledger
from b2mount.store.pace import Paces
from b2mount.store.patience import Patience, Reach
from b2mount.store.rate_limit import RateLimit
from b2mount.store.upload_body import SourceUnreadable, UploadBody
from b2mount.threads import ThreadLane

T = TypeVar("T")

MOST_IDLE_URLS: Final = 16


@attrs.frozen
class Lanes:
    """The ways into threads, one for each kind of request, so that none waits for another kind."""

    metadata: ThreadLane = attrs.field(factory=lambda: ThreadLane("metadata", 8))
    download: ThreadLane = attrs.field(factory=lambda: ThreadLane("download", 80))
    upload: ThreadLane = attrs.field(factory=lambda: ThreadLane("upload", 32))
    copy: ThreadLane = attrs.field(factory=lambda: ThreadLane("copy", 64))
    """Wide enough for the copies that renames make while as many as can be are parts of uploads."""

    @property
    def width(self) -> int:
        """How many requests there can be at once."""
        return self.metadata.width + self.download.width + self.upload.width + self.copy.width


@attrs.frozen
class Limits:
    """Bytes a second over all connections; None for as fast as it goes."""

    download: RateLimit | None = None
    upload: RateLimit | None = None


@attrs.frozen(eq=False)
class UploadTarget:
    """Where bytes go: a bucket or a large file, which has a pool of upload URLs."""

    path: ObjectPath
    pool: str
    """The bucket's or the large file's id."""
    address_call: str
    """B2's name of the call that gives a URL."""
    address: Callable[[B2Session], object]
    call: str
    """B2's name of the upload itself."""
    send: Callable[[B2Session, UploadAddress, UploadBody], object]


@attrs.define(eq=False)
class Sent:
    """One try of an upload, and how it ended."""

    generation: int
    address: UploadAddress | None = None
    reply: object = None
    size: int = 0
    sha1: str = ""
    error: Exception | None = None


@attrs.define(eq=False)
class B2Client:
    """See the module. Authorize it before the first call."""

    session: B2Session
    credentials: Credentials
    lanes: Lanes
    ledger: Ledger
    limits: Limits
    retry_for: float
    find_again: Callable[[], Credentials] | None = None
    """As Login has it."""
    _idle_urls: dict[str, list[UploadAddress]] = attrs.field(init=False, factory=dict)
    _reach: Reach = attrs.field(init=False, factory=Reach)
    _paces: Paces = attrs.field(init=False, factory=Paces)
    login: Login = attrs.field(init=False)
    _under_way: list[tuple[ObjectPath, UploadBody]] = attrs.field(init=False, factory=list)
    _places: dict[str, trio.CapacityLimiter] = attrs.field(init=False)
    """By lane. Whoever waits for a lane must neither hold an upload URL meanwhile nor go on when B2 has
    asked for fewer requests since."""

    @login.default
    def _log_in(self) -> Login:
        pace = self._paces.of(b2_login.CALL)
        return Login(self.session, self.credentials, self.lanes.metadata, self.ledger, pace, self.find_again)

    @_places.default
    def _as_wide_as_the_lanes(self) -> dict[str, trio.CapacityLimiter]:
        lanes = (self.lanes.metadata, self.lanes.download, self.lanes.upload, self.lanes.copy)
        return {lane.name: trio.CapacityLimiter(lane.width) for lane in lanes}

    # -- authorization -------------------------------------------------------------------------

    @property
    def authorization(self) -> Authorization:
        """As of the last one. Raises NotAuthorized when there was none."""
        return self.login.authorization

    async def authorize(self) -> None:
        """Get a token, with retries. Raises NotAuthorized when B2 does not know the key."""
        patience = self._patience(b2_login.CALL)
        generation = self.login.generation
        while True:
            try:
                return await self.login.renew(generation, self.retry_for)
            except Exception as error:
                await patience.before_next_try(error)

    @property
    def now_ms(self) -> int:
        """As ObjectStore.now_ms."""
        ahead: float = self.session.raw_api.b2_http.clock.ahead
        return int((time.time() + ahead) * 1000)

    def close(self) -> None:
        """Close all connections."""
        close_account(self.session)

    @asynccontextmanager
    async def _turn(self, lane: ThreadLane, patience: Patience) -> AsyncIterator[None]:
        """A place in a lane, when a request may go out. A pause for the next try holds none."""
        while True:
            await patience.turn()
            async with self._places[lane.name]:
                if not patience.is_held:
                    yield
                    return

    def _patience(self, call: str) -> Patience:
        return Patience(self.retry_for, self._reach, self._paces.of(call))

    # -- questions and small changes -------------------------------------------------------------

    async def call(self, name: str, work: Callable[[B2Session], T], *, lane: ThreadLane | None = None) -> T:
        """`work(session)`, retried. When cancelled, returns at once: it may or may not happen."""
        into = lane or self.lanes.metadata
        return await self._retried(name, into, lambda: into.run(work, self.session))

    async def change(
        self,
        name: str,
        work: Callable[[B2Session], T],
        *,
        when_refused: Callable[[B2MountError], Awaitable[T]] | None = None,
    ) -> T:
        """As `call`, but known to have ended when it returns, also when cancelled. `when_refused`
        is asked when another try than the first is refused: the first may have been heard."""
        lane = self.lanes.metadata
        return await self._retried(name, lane, lambda: lane.run_uncancelled(work, self.session), when_refused)

    async def _retried(
        self,
        name: str,
        lane: ThreadLane,
        attempt: Callable[[], Awaitable[T]],
        when_refused: Callable[[B2MountError], Awaitable[T]] | None = None,
    ) -> T:
        patience = self._patience(name)
        for tries in itertools.count(1):
            generation = self.login.generation
            try:
                async with self._turn(lane, patience):
                    generation = self.login.generation  # as of when it goes out
                    self.ledger.called(name)
                    result = await attempt()
            except Exception as error:
                try:
                    await self._before_next_try(error, generation, patience)
                except B2MountError as final:
                    if when_refused is None or tries == 1:
                        raise
                    return await when_refused(final)
            else:
                self._reach.found()
                return result
        raise AssertionError("unreachable")

    async def _before_next_try(
        self, error: Exception, generation: int, patience: Patience, *, at_once: bool = False
    ) -> None:
        """Return when another try makes sense. Raises our exception when none does."""
        if needs_new_token(error) and (is_transient(error) or patience.renewals == 0):
            patience.renewals += 1
            at_once = patience.renewals == 1
            try:
                await self.login.renew(generation, self.retry_for)
            except Exception as renewal_error:
                error, at_once = renewal_error, False
            else:
                return await patience.pause(error, at_once=at_once)
        return await patience.before_next_try(error, at_once=at_once)

    async def file_info(self, version_id: str) -> object:
        """b2_get_file_info's reply about a version."""
        return await self.call("b2_get_file_info", lambda s: s.get_file_info_by_id(version_id))

    # -- bytes out -------------------------------------------------------------------------------

    async def upload(self, target: UploadTarget, source: ByteSource) -> tuple[object, str]:
        """B2's reply, and the SHA-1 of what was sent. Raises OSError when `source` can't be read."""
        patience = self._patience(target.call)
        while True:
            async with self._turn(self.lanes.upload, patience):
                sent = await self._upload_once(target, source)
            if sent.error is None:
                self._reach.found()
                return sent.reply, sent.sha1
            await self._before_next_upload(sent, target, patience)

    def under_way(self, path: ObjectPath) -> int:
        """Bytes that the uploads to a path which are not done yet have sent."""
        return sum(body.tell() for place, body in self._under_way if place == path)

    async def _upload_once(self, target: UploadTarget, source: ByteSource) -> Sent:
        """One try; its error comes back, not out, so that its pause holds no place in the lane."""
        sent = Sent(self.login.generation)
        try:
            sent.address = await self._upload_address(target)
            with UploadBody(source, self.limits.upload) as body:
                place = (target.path, body)
                self._under_way.append(place)
                try:
                    sent.reply = await self._send(target, sent.address, body)
                finally:
                    self._under_way.remove(place)
                    sent.size, sent.sha1 = body.tell(), body.sha1
                    self.ledger.sent(min(sent.size, source.size))
            self._put_back(target, sent.address)
        except Exception as error:
            sent.error = error
        return sent

    async def _upload_address(self, target: UploadTarget) -> UploadAddress:
        idle = self._idle_urls.get(target.pool)
        if idle:
            return idle.pop()
        self.ledger.called(target.address_call)
        reply = b2_records.record(await self.lanes.upload.run(target.address, self.session))
        return UploadAddress(
            b2_records.text(reply, "uploadUrl"), b2_records.text(reply, "authorizationToken")
        )

    async def _send(self, target: UploadTarget, address: UploadAddress, body: UploadBody) -> object:
        """One upload, waited out; when cancelled, it is cut short first."""
        self.ledger.called(target.call)
        failure: Exception | None = None
        reply: object = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_abandon_when_cancelled, body)
            try:
                reply = await self.lanes.upload.run_uncancelled(target.send, self.session, address, body)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return reply

    async def _before_next_upload(self, sent: Sent, target: UploadTarget, patience: Patience) -> None:
        """Return when another try makes sense. Raises our exception, or OSError, when none does."""
        error = sent.error
        assert error is not None
        if isinstance(error, SourceUnreadable):
            raise error.reason
        if sent.address is None:
            return await self._before_next_try(error, sent.generation, patience)
        if sent.size and patience.is_new:
            patience.renew()  # a long upload has not used up its patience when it breaks at its end
        if not needs_new_upload_url(error):
            self._put_back(target, sent.address)
        elif not is_transient(error) or needs_new_token(error):
            self.forget_urls(target.pool)  # as old as this one, and as useless
        if needs_new_upload_url(error) or is_damaged_upload(error):
            return await patience.before_next_url(error)
        return await patience.before_next_try(error)

    def _put_back(self, target: UploadTarget, address: UploadAddress) -> None:
        idle = self._idle_urls.setdefault(target.pool, [])
        if len(idle) < MOST_IDLE_URLS:
            idle.append(address)

    def forget_urls(self, pool: str) -> None:
        """Drop the idle upload URLs of a bucket or of a large file."""
        self._idle_urls.pop(pool, None)

    # -- bytes in --------------------------------------------------------------------------------

    async def download(
        self,
        version: ObjectVersion,
        span: ByteRange,
        encryption: EncryptionSetting | None,
        deliver: Callable[[bytes], None],
    ) -> None:
        """As ObjectStore.read_range says; `encryption` is what B2 needs for it."""
        whole = span == ByteRange(0, version.size) and version.sha1 is not None
        digest = hashlib.sha1(usedforsecurity=False) if whole else None
        delivery = Delivery(span, deliver, self.ledger)
        patience = self._patience("b2_download_file_by_id")
        while left := delivery.left:
            generation = self.login.generation
            try:
                async with self._turn(self.lanes.download, patience):
                    generation = self.login.generation
                    self.ledger.called("b2_download_file_by_id")
                    await self.lanes.download.stream(
                        b2_calls.download,
                        delivery.take,
                        self.session,
                        version.version_id,
                        left,
                        encryption,
                        digest,
                        self.limits.download,
                    )
            except Exception as error:
                progress = delivery.left != left
                if progress:
                    patience.renew()
                await self._before_next_try(error, generation, patience, at_once=progress)
            delivery.check()
        self._reach.found()
        if digest is not None and digest.hexdigest() != version.sha1:
            raise CorruptData(f"the bytes of {version.path} do not match their SHA-1")


async def _abandon_when_cancelled(body: UploadBody) -> None:
    try:
        await trio.sleep_forever()
    finally:
        body.abandon()
