from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b2mount.errors import CorruptData, MountPointUnusable
from b2mount.model import ByteRange, ObjectVersion
from b2mount.threads import ThreadLane
from b2mount.writing.sealed_file import SealedFile, landed
from b2mount.writing.staged_file import StagedFile, Staging
from tests.writing.world import at, attributes, metadata

BASE = bytes(range(256)) * 4


def version(data: bytes) -> ObjectVersion:
    return ObjectVersion(at("file"), "v1", len(data), 1)


async def read_base(_version: ObjectVersion, span: ByteRange) -> bytes:
    return BASE[span.start : span.stop]


@pytest.fixture
def staging(tmp_path):
    staging = Staging(tmp_path / "staging", ThreadLane("disk", 2))
    staging.open()
    yield staging
    staging.close()


def seal(staged: StagedFile) -> SealedFile:
    return staged.seal(at("file"), metadata(), attributes())


async def whole(sealed: SealedFile) -> bytes:
    return bytes(await sealed.read(ByteRange(0, sealed.size), read_base))


STEP = st.tuples(
    st.sampled_from(["write", "truncate", "generation"]),
    st.integers(0, 1500),
    st.binary(min_size=1, max_size=300),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(steps=st.lists(STEP, max_size=15))
async def test_generations_of_edits_against_a_bytearray(staging, steps):
    model = bytearray(BASE)
    staged = staging.create(version(BASE), len(BASE))
    for kind, offset, data in steps:
        if kind == "write":
            assert staged.write(offset, data) == len(data)
            model.extend(bytes(max(0, offset - len(model))))
            model[offset : offset + len(data)] = data
        elif kind == "truncate":
            staged.truncate(offset)
            del model[offset:]
            model.extend(bytes(offset - len(model)))
        else:
            staged = staging.create(seal(staged), len(model))
        assert staged.size == len(model)
    assert await whole(seal(staged)) == model


async def test_nothing_is_on_disk_before_the_first_write(staging):
    staged = staging.create(None, 0)
    await staged.sync()
    assert list(staging.directory.iterdir()) == []
    assert await whole(seal(staged)) == b""


def test_a_full_disk_leaves_the_file_as_it_was(staging, monkeypatch):
    staged = staging.create(None, 0)
    staged.write(0, b"abc")
    monkeypatch.setattr(os, "pwrite", raise_full)
    with pytest.raises(OSError, match="full"):
        staged.write(3, b"def")
    assert staged.size == 3


class SmallDisk:
    """`os.pwrite` on a disk where only so many bytes behind `end` find place."""

    def __init__(self, end: int, room: int) -> None:
        self.end, self.room, self.real = end, room, os.pwrite

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        fits = len(data[: max(self.end + self.room - offset, 0)])
        if not fits:
            raise_full()
        return self.real(fd, data[:fits], offset)


def test_a_disk_that_fills_in_the_middle_leaves_the_file_as_it_was(staging, monkeypatch):
    """A memory map would lose the rest: nobody looks at how much of its pages was written."""
    staged = staging.create(version(BASE), 10)
    staged.write(0, b"abcdef")
    monkeypatch.setattr(os, "pwrite", SmallDisk(6, 3).pwrite)
    with pytest.raises(OSError, match="full"):
        staged.write(4, b"ghijklmn")
    assert staged.size == 10
    assert staged.pread(ByteRange(0, 6)) == b"abcdef"
    assert staged.extents.staged_stop == 6
    monkeypatch.undo()
    assert staged.write(4, b"ghijklmn") == 8
    assert staged.pread(ByteRange(0, 12)) == b"abcdghijklmn"


async def test_only_a_full_disk_is_a_reason_to_ask_for_room(staging):
    asked: list[int] = []

    async def make_room(needed: int) -> bool:
        asked.append(needed)
        return True

    other = Staging(staging.directory / "other", ThreadLane("disk", 1), make_room)
    assert not await other.make_room(OSError(5, "broken"), 1)
    assert await other.make_room(OSError(28, "full"), 2)
    assert await other.make_room(OSError(122, "over quota"), 3)
    assert asked == [2, 3]
    assert not await staging.make_room(OSError(28, "full"), 4), "nothing gives way for this one"


async def test_a_sync_that_met_a_full_disk_is_not_tried_again(staging, monkeypatch):
    """The second one would succeed without the bytes. Whoever writes them again finds room."""
    calls: list[str] = []

    async def make_room(_needed: int) -> bool:
        calls.append("room")
        return True

    def fdatasync(_fd: int) -> None:
        calls.append("sync")
        raise_full()

    other = Staging(staging.directory / "other", ThreadLane("disk", 1), make_room)
    other.open()
    staged = other.create(None, 0)
    staged.write(0, b"abc")
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with pytest.raises(OSError, match="full"):
        await staged.sync()
    assert calls == ["sync", "room"]
    other.close()


def raise_full(*_args: object) -> int:
    raise OSError(28, "full")


def test_the_local_file_never_shrinks(staging):
    staged = staging.create(None, 0)
    staged.write(0, b"x" * 100)
    checkpoint = seal(staged)
    staged.truncate(10)
    staged.truncate(50)
    assert checkpoint.pread(ByteRange(0, 100)) == b"x" * 100
    assert staged.size == 50


async def test_bytes_cut_off_do_not_come_back(staging):
    staged = staging.create(None, 0)
    staged.write(0, b"x" * 100)
    staged.truncate(10)
    staged.write(50, b"y")
    assert await whole(seal(staged)) == b"x" * 10 + bytes(40) + b"y"


async def test_a_seal_is_a_snapshot_of_the_map(staging):
    staged = staging.create(None, 0)
    staged.write(0, b"abc")
    sealed = seal(staged)
    staged.write(3, b"def")
    assert await whole(sealed) == b"abc"


async def test_reopen_goes_on(staging):
    staged = staging.create(version(BASE), len(BASE))
    staged.write(3, b"zzz")
    again = staging.reopen(seal(staged))
    again.write(0, b"a")
    assert await whole(seal(again)) == b"a" + BASE[1:3] + b"zzz" + BASE[6:]


async def test_a_base_that_landed_is_its_version_for_everybody(staging):
    first = staging.create(None, 0)
    first.write(0, BASE)
    below = seal(first)
    above = staging.create(below, len(BASE))
    above.write(0, b"new")
    assert isinstance(above.base, SealedFile)
    below.fate.version = version(BASE)
    await staging.delete(staging.retired(below))
    assert not Path(below.local_path).exists()
    assert landed(above.base) == version(BASE)
    assert await whole(seal(above)) == b"new" + BASE[3:]
    assert await whole(below) == BASE


async def test_a_dropped_base_stays_for_its_user(staging):
    first = staging.create(None, 0)
    first.write(0, BASE)
    below = seal(first)
    del first
    above = staging.create(below, len(BASE))
    assert staging.retired(below) == []
    above.write(0, b"new")
    assert await whole(seal(above)) == b"new" + BASE[3:]
    above.discard()
    assert list(staging.directory.iterdir()) == []


async def test_a_generation_that_landed_keeps_no_file_for_those_above(staging):
    """Somebody who rewrites a file faster than it is sent, for a day."""
    below: ObjectVersion | SealedFile | None = None
    for number in range(3000):
        staged = staging.create(below, 4)
        staged.write(number % 4, b"x")
        sealed = seal(staged)
        if isinstance(below, SealedFile):
            below.fate.version = version(BASE)
            await staging.delete(staging.retired(below))
        below = sealed
        assert len(list(staging.directory.iterdir())) <= 2
    depth, generation = 0, below
    while isinstance(generation, SealedFile):
        depth, generation = depth + 1, generation.made_from
    assert depth <= 3, "the ones below are not remembered for ever"


async def test_a_generation_withdrawn_above_one_that_landed(staging):
    first = staging.create(None, 0)
    first.write(0, BASE)
    below = seal(first)
    above = staging.create(below, len(BASE))
    above.write(0, b"new")
    withdrawn = seal(above)
    del first, above
    below.fate.version = version(BASE)
    await staging.delete(staging.retired(below))
    again = staging.reopen(withdrawn)
    again.write(1, b"x")
    top = seal(again)
    top.fate.version = version(BASE)
    await staging.delete(staging.retired(top))
    assert list(staging.directory.iterdir()) == []


async def test_no_file_goes_while_a_record_names_it(staging):
    first = staging.create(None, 0)
    first.write(0, BASE)
    below = seal(first)
    above = staging.create(below, len(BASE))
    below.fate.version = version(BASE)
    above.discard()
    assert Path(below.local_path).exists(), "the journal still lists it"
    await staging.delete(staging.retired(below))
    assert list(staging.directory.iterdir()) == []


def test_a_short_local_file_is_told(staging):
    staged = staging.create(None, 0)
    staged.write(0, b"x" * 100)
    sealed = seal(staged)
    os.truncate(sealed.local_path, 50)
    with pytest.raises(CorruptData):
        sealed.pread(ByteRange(0, 100))


def test_the_directories_above_are_durable_too(tmp_path, monkeypatch):
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.readlink(f"/proc/self/fd/{fd}")))
    staging = Staging(tmp_path / "cache" / "b2mount" / "bucket" / "staging", ThreadLane("disk", 1))
    staging.open()
    staging.close()
    above = [tmp_path, tmp_path / "cache", tmp_path / "cache" / "b2mount"]
    assert {str(path) for path in above} <= synced


def test_a_second_mount_is_refused(staging):
    other = Staging(staging.directory, ThreadLane("disk", 1))
    with pytest.raises(MountPointUnusable, match=rf"process {os.getpid()} \(.*\) uses the cache in"):
        other.open()
    staging.close()
    other.open()
    other.close()


async def test_strays_go_but_not_what_is_wanted_open_or_foreign(staging):
    stray, wanted, open_ = (staging.create(None, 0) for _ in range(3))
    for staged in (stray, wanted, open_):
        staged.write(0, b"x")
    stray_id, wanted_id = stray.staging_id, wanted.staging_id
    del stray, wanted, staged
    (staging.directory / "notes.txt").write_text("mine")
    assert await staging.remove_strays({wanted_id}) == 1
    names = {p.name for p in staging.directory.iterdir()}
    assert names == {wanted_id, open_.staging_id, "notes.txt"}
    assert stray_id not in names
