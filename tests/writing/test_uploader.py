from __future__ import annotations

import hashlib
import random

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import CorruptData, OverQuota, Unavailable
from b2mount.model import ByteRange, FileSlice, Literal, ObjectMetadata, ObjectVersion
from b2mount.writing import object_copies, upload_plan
from b2mount.writing.exchanger import swaps_of
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.upload_plan import MINIMUM_PART, SINGLE_PUT_LIMIT
from tests.fakes.faulty_store import FaultyStore
from tests.writing.world import World, at, attributes, metadata, open_world

MB = 1_000_000
BIG = random.Random(7).randbytes(30 * MB)
"""Over the limit of a single request, with three smallest parts and more."""


def sealed_of(
    world: World, base: ObjectVersion | None, *writes: tuple[int, bytes], size: int = -1
) -> SealedFile:
    staged = world.new(base=base, size=base.size if base else 0)
    for offset, data in writes:
        staged.write(offset, data)
    if size >= 0:
        staged.truncate(size)
    return staged.seal(at("a"), metadata(), attributes(staged.size))


async def upload(world: World, sealed: SealedFile) -> ObjectVersion:
    return await world.uploader.upload(sealed, lambda sent: None)


def sent_bytes(store: FaultyStore) -> int:
    return sum(call.arguments[2].size for call in store.log if call.verb == "put_part")  # type: ignore[attr-defined]  # a fake, or an object of the log


async def test_a_big_new_file_goes_in_parts_and_says_its_sha1(tmp_path, store, memory):
    progress: list[int] = []
    async with open_world(tmp_path, store, running=False) as world:
        version = await world.uploader.upload(sealed_of(world, None, (0, BIG)), progress.append)
    assert memory.contents() == {"a": BIG}
    assert version.sha1 == hashlib.sha1(BIG).hexdigest()
    assert version.info["large_file_sha1"] == version.sha1
    assert progress == sorted(progress)
    assert progress[-1] == len(BIG)
    assert store.most_running["put_part"] > 1
    for call in store.log:
        if call.verb == "put_part":
            assert all(isinstance(piece, FileSlice) for piece in call.arguments[2].pieces)


async def test_a_hole_is_zeros(tmp_path, store, memory):
    async with open_world(tmp_path, store, running=False) as world:
        version = await upload(world, sealed_of(world, None, (0, b"a"), (SINGLE_PUT_LIMIT, b"z")))
    data = b"a" + bytes(SINGLE_PUT_LIMIT - 1) + b"z"
    assert memory.contents() == {"a": data}
    assert version.sha1 == hashlib.sha1(data).hexdigest()


async def test_an_append_fetches_nothing(tmp_path, store, memory):
    base = memory.seed(at("a"), BIG)
    async with open_world(tmp_path, store, running=False) as world:
        version = await upload(world, sealed_of(world, base, (len(BIG), b"more")))
        assert world.fetched == []
    assert memory.contents() == {"a": BIG + b"more"}
    assert sent_bytes(store) == 4
    assert "large_file_sha1" not in version.info, "nobody has hashed it"


async def test_a_small_change_sends_one_smallest_part(tmp_path, store, memory):
    base = memory.seed(at("a"), BIG)
    async with open_world(tmp_path, store, running=False) as world:
        await upload(world, sealed_of(world, base, (12 * MB, b"X" * 4096)))
        assert sum(span.size for span in world.fetched) == MINIMUM_PART - 4096
        assert world.local_files() != []
        assert not [name for name in world.local_files() if "spool" in name]
    assert memory.contents() == {"a": BIG[: 12 * MB] + b"X" * 4096 + BIG[12 * MB + 4096 :]}
    assert sent_bytes(store) == MINIMUM_PART
    for call in store.log:
        if call.verb == "put_part":
            pieces = call.arguments[2].pieces
            assert sum(p.size for p in pieces if isinstance(p, Literal)) <= MB, (
                "base bytes are not held in memory"
            )


async def test_a_truncation_sends_nothing(tmp_path, store, memory):
    base = memory.seed(at("a"), BIG)
    async with open_world(tmp_path, store, running=False) as world:
        await upload(world, sealed_of(world, base, size=26 * MB))
        assert world.fetched == []
    assert memory.contents() == {"a": BIG[: 26 * MB]}
    assert (store.calls["put_part"], store.calls["put"]) == (0, 0)


async def test_an_attribute_change_is_one_copy_and_keeps_the_sha1(tmp_path, store, memory):
    async with open_world(tmp_path, store, running=False) as world:
        base = await upload(world, sealed_of(world, None, (0, BIG)))
        store.log.clear()
        staged = world.new(base=base, size=base.size)
        new = ObjectMetadata("b2/x-auto", {"src_last_modified_millis": "5"})
        version = await upload(world, staged.seal(at("a"), new, attributes()))
    assert [call.verb for call in store.log] == ["copy"]
    assert version.sha1 == base.sha1
    assert version.info["src_last_modified_millis"] == "5"
    assert version.content_type == base.content_type


async def test_a_file_whose_info_is_full_can_be_changed(tmp_path, store, memory):
    theirs = {f"key{number}": "x" for number in range(9)}
    info = ObjectMetadata("text/plain", {**theirs, "src_last_modified_millis": "1", "posix": "mode=100644"})
    async with open_world(tmp_path, store, running=False) as world:
        for data in (b"small", BIG):
            staged = world.new(data)
            version = await upload(world, staged.seal(at("a"), info, attributes(len(data))))
            assert version.info == {**theirs, "src_last_modified_millis": "1"}


async def test_a_small_edit_of_a_small_file_is_one_put(tmp_path, store, memory):
    base = memory.seed(at("a"), b"0123456789")
    async with open_world(tmp_path, store, running=False) as world:
        await upload(world, sealed_of(world, base, (3, b"xx")))
    assert memory.contents() == {"a": b"012xx56789"}
    assert store.calls["put"] == 1


@pytest.mark.parametrize("verb", ["put_part", "finish_multipart"])
async def test_an_interrupted_upload_goes_on_from_its_parts(tmp_path, store, memory, verb):
    store.fail(verb, Unavailable("no network"), at=1 if verb == "finish_multipart" else 3)
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await upload(world, sealed)
        before = store.calls["put_part"]
        await upload(world, sealed)
    assert store.calls["start_multipart"] == 1
    assert memory.contents() == {"a": BIG}
    assert store.calls["put_part"] - before == (0 if verb == "finish_multipart" else 1)


@pytest.mark.parametrize("theirs", [False, True])
async def test_an_upload_that_goes_on_stands_above_what_came_meanwhile(tmp_path, store, memory, theirs):
    """B2 dates a large file by its start: what hid the name since, or was put there, would stand above it."""
    store.fail("finish_multipart", Unavailable("no network"))
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await upload(world, sealed)
        memory.seed(at("a"), b"theirs")
        if not theirs:
            await memory.hide(at("a"))
        version = await upload(world, sealed)
    assert memory.contents() == {"a": BIG}
    assert (await memory.stat(at("a"))).version_id == version.version_id


async def test_a_finish_whose_reply_was_lost_for_good_is_done_anew(tmp_path, store, memory):
    store.fail("finish_multipart", Unavailable("no network"), after=True)
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await upload(world, sealed)
        await upload(world, sealed)
    assert memory.contents() == {"a": BIG}
    assert await memory.list_unfinished("bucket", "") == ()


async def test_parts_of_other_bytes_are_never_reused(tmp_path, store, memory):
    store.fail("finish_multipart", Unavailable("no network"))
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await upload(world, sealed)
        staged = world.staging.reopen(sealed)
        staged.write(0, b"changed")
        await upload(world, staged.seal(at("a"), metadata(), attributes()))
    assert memory.contents() == {"a": b"changed" + BIG[7:]}
    assert await memory.list_unfinished("bucket", "") == ()


async def test_parts_of_a_file_that_became_small_do_not_stay_in_b2(tmp_path, store, memory):
    store.fail("finish_multipart", Unavailable("no network"))
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await upload(world, sealed)
        staged = world.staging.reopen(sealed)
        staged.truncate(3)
        await upload(world, staged.seal(at("a"), metadata(), attributes()))
    assert memory.contents() == {"a": BIG[:3]}
    assert await memory.list_unfinished("bucket", "") == ()


async def test_a_recovered_upload_goes_on_from_its_own_parts_too(tmp_path, store, memory):
    store.fail("finish_multipart", Unavailable("no network"))
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await world.uploader.upload(sealed, lambda sent: None, recovered=True)
        before = store.calls["put_part"]
        await world.uploader.upload(sealed, lambda sent: None, recovered=True)
    assert (store.calls["start_multipart"], store.calls["put_part"]) == (1, before)
    assert memory.contents() == {"a": BIG}


async def test_an_upload_that_fails_for_good_leaves_nothing_in_b2(tmp_path, store, memory):
    store.fail("put_part", OverQuota("cap"), at=2)
    async with open_world(tmp_path, store, running=False) as world:
        with pytest.raises(OverQuota):
            await upload(world, sealed_of(world, None, (0, BIG)))
    assert await memory.list_unfinished("bucket", "") == ()


async def test_an_abandoned_upload_leaves_nothing_in_b2(tmp_path, store, memory):
    store.fail("finish_multipart", Unavailable("no network"))
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await upload(world, sealed)
        await world.uploader.abandon(sealed.staging_id)
    assert await memory.list_unfinished("bucket", "") == ()


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_start_whose_reply_was_lost_for_good_leaves_nothing(tmp_path, store, memory, goes_on):
    foreign = await memory.start_multipart(at("a"), metadata("theirs"))
    store.fail("start_multipart", Unavailable("no network"), after=True)
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        with pytest.raises(Unavailable):
            await upload(world, sealed)
        assert len(await memory.list_unfinished("bucket", "")) == 2
        if goes_on:
            await upload(world, attrs.evolve(sealed, metadata=metadata("later")))
        else:
            await world.uploader.abandon(sealed.staging_id)
    assert [u.upload_id for u in await memory.list_unfinished("bucket", "")] == [foreign.upload_id]
    assert memory.contents() == ({"a": BIG} if goes_on else {})


async def test_what_an_earlier_process_began_is_cancelled_and_nothing_else(tmp_path, store, memory):
    foreign = await memory.start_multipart(at("a"), metadata("theirs"))
    async with open_world(tmp_path, store, running=False) as world:
        sealed = sealed_of(world, None, (0, BIG))
        await memory.start_multipart(at("a"), sealed.metadata)
        await world.uploader.upload(sealed, lambda sent: None, recovered=True)
    assert [u.upload_id for u in await memory.list_unfinished("bucket", "")] == [foreign.upload_id]


async def test_a_reply_of_another_size_is_an_error(tmp_path, store, memory, monkeypatch):
    async with open_world(tmp_path, store, running=False) as world:
        short = memory.seed(at("other"), b"short")

        async def put(*_args: object) -> object:
            return short

        monkeypatch.setattr(store, "put", put)
        with pytest.raises(CorruptData):
            await upload(world, sealed_of(world, None, (0, b"not that size")))


async def test_base_bytes_that_come_short_are_an_error(tmp_path, store, memory, monkeypatch):
    base = memory.seed(at("a"), b"0123456789")
    async with open_world(tmp_path, store, running=False) as world:

        async def nothing(_version: ObjectVersion, _span: ByteRange) -> bytes:
            return b""

        monkeypatch.setattr(world.uploader._sources, "_read_base", nothing)
        with pytest.raises(CorruptData):
            await upload(world, sealed_of(world, base, (3, b"xx")))


async def test_base_bytes_over_a_line_without_protection_are_compared_with_what_b2_has(
    tmp_path, store, memory, expect_warning
):
    """What came damaged would go up again as part of the changed file, and nobody would ever know."""
    expect_warning("came with wrong bytes")
    base = memory.seed(at("a"), BIG)
    store.flip(3)
    async with open_world(tmp_path, store, running=False, is_protected=False) as world:
        await upload(world, sealed_of(world, base, (12 * MB, b"X" * 4096)))
    assert memory.contents() == {"a": BIG[: 12 * MB] + b"X" * 4096 + BIG[12 * MB + 4096 :]}
    assert sent_bytes(store) == MINIMUM_PART


async def test_a_rename_waits_for_no_upload(tmp_path, store, memory):
    """Dozens of files on their way over a slow line, and the program that renames another has to wait."""
    other = memory.seed(at("other"), b"other")
    async with open_world(tmp_path, store, running=False) as world:
        holds = [store.hold("put", at=number) for number in range(1, 41)]
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(upload, world, world.sealed(f"file {number}", b"bytes"))
            await trio.testing.wait_all_tasks_blocked()
            assert store.running["put"] == 32, "as many as there are at once"
            with trio.fail_after(5):
                await world.mover.move([(other, at("renamed"))])
                await world.mover.exchange(swaps_of([(memory.newest("renamed"), at("other"))]))
            for hold in holds:
                hold.release.set()
    assert memory.contents()["other"] == b"other"
    assert len(memory.contents()) == 41


async def test_a_rename_waits_for_no_copy_of_what_is_huge(tmp_path, store, memory, monkeypatch):
    for module in (object_copies, upload_plan):
        monkeypatch.setattr(module, "COPY_LIMIT", 10 * MB)
    monkeypatch.setattr(upload_plan, "SINGLE_PUT_LIMIT", 10 * MB)
    huge, other = memory.seed(at("huge"), bytes(11 * MB)), memory.seed(at("other"), b"other")
    async with open_world(tmp_path, store, running=False) as world:
        holds = [store.hold("copy_part", at=number) for number in range(1, 25)]
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(world.mover.copy, huge, at(f"copy {number}"))
            await trio.testing.wait_all_tasks_blocked()
            assert store.running["copy_part"] == 16, "as many as there are at once"
            with trio.fail_after(5):
                await world.mover.move([(other, at("renamed"))])
                await upload(world, world.sealed("file", b"bytes"))
            for hold in holds:
                hold.release.set()
    assert set(memory.contents()) == {"huge", "renamed", "file", *(f"copy {n}" for n in range(12))}


async def test_what_could_not_be_removed_is_removed_by_a_mount_that_goes_on(
    autojump_clock, tmp_path, store, memory, monkeypatch
):
    """B2 bills it for as long as it stays there. Nothing waits for that."""
    monkeypatch.setattr(object_copies, "COPY_LIMIT", 10 * MB)
    monkeypatch.setattr(upload_plan, "COPY_LIMIT", 10 * MB)
    version = memory.seed(at("old"), BIG)
    store.fail("copy_part", Unavailable("no network"), times=100)
    store.fail("abort_multipart", Unavailable("no network"), times=2)
    async with open_world(tmp_path, store) as world:
        with pytest.raises(Unavailable):
            await world.mover.move([(version, at("new"))])
        assert len(await memory.list_unfinished("bucket", "")) == 1
        await trio.sleep(24 * 3600)
        assert await memory.list_unfinished("bucket", "") == ()
        assert store.calls["abort_multipart"] == 3
        assert await world.journal.read("SELECT upload_id FROM large_files") == []
    assert memory.contents() == {"old": BIG}
