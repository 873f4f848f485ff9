"""B2Store against an emulator that misbehaves: what a flaky B2 does never reaches the caller."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatch
from typing import Any

import pytest
import trio

from b2mount.emulator.faults import FaultKind
from b2mount.errors import CorruptData, NotAuthorized, OverQuota, StoreFailure, Unavailable
from b2mount.model import Action, ByteRange, ObjectMetadata
from b2mount.store import b2_calls
from b2mount.store.b2_store import open_b2_store
from b2mount.store.pace import LONGEST_HOLD
from tests.fakes.memory_store import literal
from tests.store.conftest import PART, Site, credentials, until_under_way

DATA = bytes(i * 7 % 251 for i in range(1_000_000))

TROUBLE = [
    (FaultKind.ERROR, {"status": 503}),
    (FaultKind.ERROR, {"status": 500}),
    (FaultKind.ERROR, {"status": 408}),
    (FaultKind.ERROR, {"status": 429, "retry_after": 7}),
    (FaultKind.DROP_BEFORE, {}),
    (FaultKind.EXPIRED_TOKEN, {}),
]

Verb = Callable[[Site], Awaitable[object]]


async def list_names(site: Site) -> object:
    return await site.store.list_objects(site.bucket, "")


async def list_versions(site: Site) -> object:
    return await site.store.list_versions(site.bucket, "")


async def stat(site: Site) -> object:
    return await site.store.stat(site.path("there"))


async def read(site: Site) -> object:
    return await site.read(await site.store.stat(site.path("there")))


async def put(site: Site) -> object:
    return await site.put("new", DATA)


async def copy(site: Site) -> object:
    return await site.store.copy(await site.store.stat(site.path("there")), site.path("copy"))


async def hide(site: Site) -> None:
    await site.store.hide(site.path("there"))


async def delete(site: Site) -> None:
    await site.store.delete_version(await site.store.stat(site.path("there")))


async def multipart(site: Site) -> object:
    upload = await site.store.start_multipart(site.path("large"), ObjectMetadata())
    source = await site.store.stat(site.path("there"))
    first = await site.store.put_part(upload, 1, literal(DATA[:PART]))
    second = await site.store.copy_part(upload, 2, source, ByteRange(0, 4))
    assert len(await site.store.list_parts(upload)) == 2
    return await site.store.finish_multipart(upload, [first.sha1, second.sha1])


async def abort(site: Site) -> None:
    upload = await site.store.start_multipart(site.path("large"), ObjectMetadata())
    assert await site.store.list_unfinished(site.bucket, "") == (upload,)
    await site.store.abort_multipart(upload)


VERBS: list[tuple[str, Verb]] = [
    ("b2_list_file_names", list_names),
    ("b2_list_file_versions", list_versions),
    ("b2_head_file_by_name", stat),
    ("b2_download_file_by_id", read),
    ("b2_get_upload_url", put),
    ("b2_upload_file", put),
    ("b2_copy_file", copy),
    ("b2_hide_file", hide),
    ("b2_delete_file_version", delete),
    ("b2_start_large_file", multipart),
    ("b2_get_upload_part_url", multipart),
    ("b2_upload_part", multipart),
    ("b2_copy_part", multipart),
    ("b2_list_parts", multipart),
    ("b2_finish_large_file", multipart),
    ("b2_list_unfinished_large_files", abort),
    ("b2_cancel_large_file", abort),
    ("b2_create_bucket", lambda site: site.store.create_bucket("another")),
    ("b2_list_buckets", lambda site: site.store.list_buckets()),
    (
        "b2_get_download_authorization",
        lambda site: site.store.authorize_download(site.bucket, "", 60),
    ),
]


@pytest.mark.parametrize(("kind", "choices"), TROUBLE, ids=lambda value: str(value))
@pytest.mark.parametrize(("endpoint", "verb"), VERBS, ids=lambda value: str(value).split()[0])
async def test_trouble_is_not_noticed(
    site: Site,
    autojump_clock: trio.testing.MockClock,
    endpoint: str,
    verb: Verb,
    kind: FaultKind,
    choices: dict[str, int],
) -> None:
    await site.put("there")
    site.server.counts.reset()
    if endpoint == "b2_get_upload_url":
        site.store._client._idle_urls.clear()
    site.fault(kind, endpoint, **choices)
    await verb(site)
    assert site.calls(endpoint) >= 2
    assert [hits for _, hits in site.server.faults.report()] == [1]


@pytest.mark.parametrize(("endpoint", "verb"), VERBS, ids=lambda value: str(value).split()[0])
async def test_a_lost_reply_is_not_noticed(
    site: Site, autojump_clock: trio.testing.MockClock, endpoint: str, verb: Verb
) -> None:
    await site.put("there")
    if endpoint == "b2_get_upload_url":
        site.store._client._idle_urls.clear()
    site.fault(FaultKind.DROP_AFTER, endpoint)
    await verb(site)
    assert [hits for _, hits in site.server.faults.report()] == [1]


async def test_a_large_file_that_was_started_twice_is_cancelled_once(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    metadata = ObjectMetadata("text/plain", {"posix": "mode=100644,ns=1"})
    other = await site.store.start_multipart(site.path("a"), ObjectMetadata("text/plain"))
    below = await site.store.start_multipart(site.path("a/b"), metadata)
    site.fault(FaultKind.DROP_AFTER, "b2_start_large_file")
    upload = await site.store.start_multipart(site.path("a"), metadata)
    unfinished = await site.store.list_unfinished(site.bucket, "")
    assert {each.upload_id for each in unfinished} == {upload.upload_id, other.upload_id, below.upload_id}


async def test_a_lost_reply_to_the_deletion_of_a_bucket(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    await site.store.create_bucket("another")
    site.fault(FaultKind.DROP_AFTER, "b2_delete_bucket")
    await site.store.delete_bucket("another")
    assert [each.name for each in await site.store.list_buckets()] == ["bucket"]


# -- waiting -------------------------------------------------------------------------------


async def test_retry_after_is_waited_for(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=429, retry_after=17)
    before = trio.current_time()
    await list_names(site)
    assert 17 <= trio.current_time() - before < 18


async def test_a_date_to_retry_after_is_waited_for(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=429, retry_after=later)
    before = trio.current_time()
    await list_names(site)
    assert 20 <= trio.current_time() - before <= 52


@pytest.mark.parametrize("status", [429, 503])
async def test_what_is_said_to_one_listing_is_said_to_all(
    site: Site, autojump_clock: trio.testing.MockClock, status: int
) -> None:
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=status, retry_after=3600)
    for verb in (list_names, list_versions):
        with pytest.raises(Unavailable):
            await verb(site)
    await site.put("there")  # other kinds go on
    await stat(site)
    assert site.calls("b2_list_file_names") + site.calls("b2_list_file_versions") == 1
    await trio.sleep(LONGEST_HOLD)
    await list_versions(site)


async def test_those_who_wait_for_their_turn_hear_it_too(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    """Of many listings at once a few go out together; the others have not been sent when B2 complains."""
    site.fault(FaultKind.ERROR, "b2_list_*", status=429, retry_after=3600, times=None)

    async def fails() -> None:
        with pytest.raises(Unavailable):
            await list_versions(site)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(fails)
    assert site.calls("b2_list_file_versions") <= site.store._client.lanes.metadata.width
    assert site.store.ledger.total.calls["b2_list_file_versions"] == site.calls("b2_list_file_versions")


async def test_too_many_requests_without_a_time(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    """Each 429 holds back all listings a little, so that together they ask not much more than one would."""
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=429, times=None)

    async def fails() -> None:
        with pytest.raises(Unavailable):
            await list_names(site)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(fails)
    assert site.calls("b2_list_file_names") <= 8 * 25


async def test_an_upload_waits_when_it_is_told_to(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    """A 503 without a time is mended by another upload URL at once; with one it is obeyed."""
    site.fault(FaultKind.ERROR, "b2_upload_file", status=503)
    before = trio.current_time()
    await put(site)
    assert trio.current_time() == before
    site.fault(FaultKind.ERROR, "b2_upload_file", status=503, retry_after=9)
    await put(site)
    assert 9 <= trio.current_time() - before < 10


async def test_a_token_is_not_asked_for_before_the_time(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.fault(FaultKind.EXPIRED_TOKEN, "b2_list_file_names")
    site.fault(FaultKind.ERROR, "b2_authorize_account", status=429, retry_after=13)
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(list_names, site)
        nursery.start_soon(stat_late, site)
    assert trio.current_time() - before >= 13
    assert site.calls("b2_authorize_account") == 2


async def stat_late(site: Site) -> None:
    await trio.sleep(1)
    await list_versions(site)


async def test_patience_ends(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=503, times=None)
    before = trio.current_time()
    with pytest.raises(Unavailable):
        await list_names(site)
    assert 55 <= trio.current_time() - before <= 61
    assert 5 <= site.calls("b2_list_file_names") <= 25


async def test_a_retry_after_beyond_our_patience(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=503, retry_after=3600, times=None)
    before = trio.current_time()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await list_names(site)
    assert trio.current_time() == before
    assert site.calls("b2_list_file_names") == 1  # B2 is not asked before the time, whoever wants it


async def test_a_retry_after_of_nothing(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=429, retry_after=0, times=None)
    with pytest.raises(Unavailable):
        await list_names(site)
    assert site.calls("b2_list_file_names") <= 25


async def test_a_server_that_is_gone(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    version = await site.put("there")
    site.server.__exit__(None, None, None)
    for verb in (list_names, stat, put, hide):
        with pytest.raises(Unavailable):
            await verb(site)
    with pytest.raises(Unavailable):
        await site.read(version)


@pytest.mark.parametrize(
    ("endpoint", "verb"),
    [
        ("b2_list_file_names", list_names),
        ("b2_upload_file", put),
        ("b2_copy_file", copy),
        ("b2_download*", read),
    ],
)
async def test_a_slow_reply_is_given_up(
    hasty: Site, autojump_clock: trio.testing.MockClock, endpoint: str, verb: Verb
) -> None:
    await hasty.put("there")
    hasty.server.counts.reset()
    hasty.fault(FaultKind.DELAY, endpoint, seconds=1)
    await verb(hasty)
    assert sum(hasty.calls(name) for name in hasty.server.counts.calls if fnmatch(name, endpoint)) >= 2


async def test_a_cancelled_verb_returns_at_once(site: Site) -> None:
    site.fault(FaultKind.DELAY, "b2_list_file_names", seconds=0.4)
    with trio.move_on_after(0.05) as scope:
        await list_names(site)
    assert scope.cancelled_caught
    await list_names(site)


# -- uploads -------------------------------------------------------------------------------


async def test_busy_pods_cost_new_urls_and_no_time(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.fault(FaultKind.ERROR, "b2_upload_file", status=503, times=4)
    before = trio.current_time()
    await put(site)
    assert trio.current_time() == before
    assert site.calls("b2_get_upload_url") == 5


async def test_urls_are_used_again(site: Site) -> None:
    for number in range(5):
        await site.put(f"file{number}")
    assert site.calls("b2_get_upload_url") == 1
    assert site.calls("b2_upload_file") == 5


async def test_one_upload_at_a_time_on_each_url(site: Site) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(site.put, f"file{number}", DATA[:50_000])
    assert site.server.counts.errors == {}
    assert site.calls("b2_upload_file") == 100
    assert site.calls("b2_get_upload_url") <= 32


async def test_an_expired_upload_url_takes_the_others_along(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(site.put, f"file{number}", DATA)
    site.server.counts.reset()
    site.fault(FaultKind.EXPIRED_TOKEN, "b2_upload_file")
    await put(site)
    await put(site)
    assert site.calls("b2_get_upload_url") == 1
    assert site.calls("b2_authorize_account") == 0


async def test_a_damaged_upload_is_sent_again(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.WRONG_BYTES, "b2_upload_file", times=3)
    version = await site.put("file", DATA)
    assert version.sha1 == hashlib.sha1(DATA).hexdigest()
    assert await site.read(version) == DATA
    page = await site.store.list_versions(site.bucket, "")
    assert page.versions == (version,)


async def test_uploads_that_always_arrive_damaged(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.WRONG_BYTES, "b2_upload_file", times=None)
    with pytest.raises(CorruptData):
        await put(site)


async def test_caps_are_not_tried_again(site: Site) -> None:
    for code in ("cap_exceeded", "storage_cap_exceeded", "transaction_cap_exceeded", "download_cap_exceeded"):
        site.server.counts.reset()
        site.fault(FaultKind.ERROR, "b2_upload_file", status=403, code=code)
        with pytest.raises(OverQuota):
            await put(site)
        assert site.calls("b2_upload_file") == 1


async def test_a_cancelled_upload_ends(site: Site) -> None:
    """In the middle of a body that takes minutes."""
    store, path = await open_b2_store(credentials(site.server), limit_upload=100_000), site.path("big")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.put, path, literal(bytes(50_000_000)), ObjectMetadata())
            await until_under_way(store, path, 1)
            nursery.cancel_scope.cancel()
        assert store._client.lanes.upload._limiter.borrowed_tokens == 0
        assert (await store.list_versions(site.bucket, "")).versions == ()
    finally:
        store.close()


async def test_a_copy_waits_for_no_upload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of uploads there are as many as there can be: programs that rename don't wait for one to end."""
    version = await site.put("file")
    width = site.store._client.lanes.upload.width
    sending, may_end = threading.Semaphore(0), threading.Event()
    upload_file = b2_calls.upload_file

    def slow(*arguments: Any) -> object:
        sending.release()
        assert may_end.wait(60)
        return upload_file(*arguments)

    monkeypatch.setattr(b2_calls, "upload_file", slow)
    async with trio.open_nursery() as nursery:
        for number in range(width + 5):
            nursery.start_soon(site.put, f"big {number}")
        for _ in range(width):
            await trio.to_thread.run_sync(sending.acquire)
        try:
            with trio.fail_after(20):
                assert (await site.store.copy(version, site.path("copy"))).size == version.size
        finally:
            may_end.set()


# -- downloads -----------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 262_144, 300_000, 999_999])
async def test_a_cut_download_goes_on(site: Site, autojump_clock: trio.testing.MockClock, cut: int) -> None:
    version = await site.put("file", DATA)
    site.fault(FaultKind.CUT_BODY, "b2_download_file_by_id", after_bytes=cut)
    site.fault(FaultKind.CUT_BODY, "b2_download_file_by_id", after_bytes=cut // 3)
    assert await site.read(version) == DATA
    assert site.calls("b2_download_file_by_id") == 3


async def test_a_download_that_never_moves(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    version = await site.put("file", DATA)
    site.fault(FaultKind.CUT_BODY, "b2_download_file_by_id", after_bytes=0, times=None)
    with pytest.raises(Unavailable):
        await site.read(version)


async def test_an_error_of_the_receiver_is_the_callers(site: Site) -> None:
    version = await site.put("file", DATA)

    def deliver(_data: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await site.store.read_range(version, ByteRange(0, version.size), deliver)


async def test_a_cancelled_download_delivers_nothing_more(site: Site) -> None:
    version = await site.put("file", DATA)
    got: list[bytes] = []
    with trio.CancelScope() as scope:

        def deliver(data: bytes) -> None:
            got.append(data)
            scope.cancel()

        await site.store.read_range(version, ByteRange(0, version.size), deliver)
    so_far = len(got)
    await trio.sleep(0.05)
    assert len(got) == so_far


# -- authorization -------------------------------------------------------------------------


async def test_twenty_callers_share_one_authorization(site: Site) -> None:
    version = await site.put("file", DATA)
    site.server.counts.reset()
    site.fault(FaultKind.EXPIRED_TOKEN, "b2_list_file_names")
    await list_names(site)
    assert site.calls("b2_authorize_account") == 1
    site.server.run(site.server.keys.expire_tokens)
    site.server.counts.reset()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(list_names, site)
            nursery.start_soon(site.read, version)
    assert site.calls("b2_authorize_account") == 1


async def test_a_key_that_is_revoked(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.EXPIRED_TOKEN, "b2_list_file_names", times=None)
    site.fault(FaultKind.ERROR, "b2_authorize_account", status=401, code="bad_auth_token", times=None)
    before = trio.current_time()
    with pytest.raises(NotAuthorized):
        await list_names(site)
    assert trio.current_time() == before
    assert site.calls("b2_authorize_account") == 1


async def test_an_authorization_that_takes_a_few_tries(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.fault(FaultKind.EXPIRED_TOKEN, "b2_list_file_names")
    site.fault(FaultKind.ERROR, "b2_authorize_account", status=503, times=3)
    await list_names(site)
    assert site.calls("b2_authorize_account") == 4


async def test_tokens_that_are_never_right(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.fault(FaultKind.EXPIRED_TOKEN, "b2_list_file_names", times=None)
    with pytest.raises(NotAuthorized):
        await list_names(site)
    assert site.calls("b2_list_file_names") < 25


async def test_finish_of_a_file_that_b2_refuses(site: Site) -> None:
    upload = await site.store.start_multipart(site.path("large"), ObjectMetadata())
    part = await site.store.put_part(upload, 1, literal(b"only"))
    with pytest.raises(StoreFailure, match="2 parts"):
        await site.store.finish_multipart(upload, [part.sha1])
    (row,) = (await site.store.list_versions(site.bucket, "")).versions
    assert row.action is Action.START
