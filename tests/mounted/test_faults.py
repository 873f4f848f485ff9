"""B2 misbehaves while programs read and write: they notice nothing, or get an error in good time."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from b2mount.emulator.faults import Fault, FaultKind
from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import RemoteBucket, open_account, sha1_of
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

SMALL, BIG, HUGE = 300_000, 9_000_000, 40_000_000
RETRY_FOR = 3
BOUND, SILENCE_BOUND = 20, 45
"""Seconds within which an error must come with RETRY_FOR: when B2 is away, and when it takes requests
and never answers."""


def sometimes(kind: FaultKind, endpoint: str = "*", **settings: object) -> list[Fault]:
    """Every third request of a kind goes wrong, a dozen times."""
    return [Fault(kind, endpoint, probability=0.35, times=12, seed=7, **settings)]  # type: ignore[arg-type]  # each fits its field


TROUBLES: dict[str, list[Fault]] = {
    "wrong bytes come down": [
        Fault(FaultKind.WRONG_BYTES, "b2_download*", "old/[0-9]", skip=1, times=3, after_bytes=1000),
        Fault(FaultKind.WRONG_BYTES, "b2_download*", "old/[0-9]", skip=6, times=3, after_bytes=200_000),
    ],
    "wrong bytes arrive": sometimes(FaultKind.WRONG_BYTES, "b2_upload*"),
    "503": sometimes(FaultKind.ERROR, status=503),
    "500": sometimes(FaultKind.ERROR, status=500),
    "429": sometimes(FaultKind.ERROR, status=429, retry_after=1),
    "408": sometimes(FaultKind.ERROR, "b2_upload*", status=408),
    "dropped before": sometimes(FaultKind.DROP_BEFORE),
    "dropped after": sometimes(FaultKind.DROP_AFTER),
    "cut bodies": sometimes(FaultKind.CUT_BODY, "b2_download*", after_bytes=100_000),
    "expired tokens": [
        Fault(FaultKind.EXPIRED_TOKEN, skip=3, times=2),
        Fault(FaultKind.EXPIRED_TOKEN, skip=30, times=2),
    ],
}


@pytest.fixture
def stocked(make_mount: MountMaker) -> Mount:
    """A mount of a bucket that holds some files already."""
    bucket = make_mount.bucket()
    for number in range(6):
        bucket.put(f"old/{number}", pattern(number, SMALL))
    bucket.put("old/big", pattern(99, BIG))
    return make_mount(bucket=bucket)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_programs_notice_nothing(make_mount: MountMaker, stocked: Mount, trouble: str) -> None:
    stocked.expect_log("WARNING")
    path, faults = stocked.path, make_mount.server.faults
    (path / "new").mkdir()

    def write(number: int) -> None:
        (path / "new" / str(number)).write_bytes(pattern(100 + number, SMALL))

    def read(number: int) -> None:
        assert_same_bytes((path / "old" / str(number)).read_bytes(), pattern(number, SMALL))

    def write_big(_: int) -> None:
        (path / "new" / "big").write_bytes(pattern(199, BIG))
        os.rename(path / "new" / "big", path / "new" / "big renamed")

    def read_big(_: int) -> None:
        assert_same_bytes((path / "old" / "big").read_bytes(), pattern(99, BIG))

    faults.replace(TROUBLES[trouble])
    jobs: list[tuple[Callable[[int], None], int]] = [(write_big, 0), (read_big, 0)]
    jobs += [(job, number) for number in range(6) for job in (write, read)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(job, number) for job, number in jobs]:
            done.result()
    assert sorted(os.listdir(path / "new")) == [*"012345", "big renamed"]
    hits = sum(count for _, count in faults.report())
    faults.clear()
    assert hits >= 2, "the trouble never came"
    stored = {key: record.sha1 for key, record in stocked.bucket.objects("new/").items()}
    expected = {f"new/{number}": sha1_of(pattern(100 + number, SMALL)) for number in range(6)}
    expected["new/big renamed"] = sha1_of(pattern(199, BIG))
    assert {key: sha1 for key, sha1 in stored.items() if not key.endswith(".bzEmpty")} == expected
    stocked.remount(fresh_cache=True)
    for number in range(6):
        assert_same_bytes((path / "new" / str(number)).read_bytes(), pattern(100 + number, SMALL))


def test_bytes_that_stay_wrong_are_an_error(make_mount: MountMaker) -> None:
    """When every byte of a version has passed through the cache, its SHA-1 is checked; a mismatch
    drops the blocks, is logged, and is EIO, never wrong bytes."""
    bucket = make_mount.bucket()
    data = pattern(1, SMALL)
    bucket.put("file", data)
    mount = make_mount("--retry-for=5", bucket=bucket)
    mount.expect_log("file")
    make_mount.server.faults.replace([Fault(FaultKind.WRONG_BYTES, "b2_download*", after_bytes=50_000)])
    with pytest.raises(OSError, match="error") as caught:
        (mount.path / "file").read_bytes()
    assert caught.value.errno == errno.EIO
    make_mount.server.faults.clear()
    assert "SHA-1" in mount.log() or "sha1" in mount.log().lower()
    assert_same_bytes((mount.path / "file").read_bytes(), data)


def test_wrong_bytes_in_a_document_are_never_seen(make_mount: MountMaker) -> None:
    bucket, data = make_mount.bucket(), pattern(1, BIG)
    bucket.put("big", data)
    mount = make_mount(bucket=bucket)
    make_mount.server.faults.replace(
        [Fault(FaultKind.WRONG_BYTES, "b2_download*", times=2, after_bytes=1000)]
    )
    assert_same_bytes((mount.path / "big").read_bytes(), data)
    assert make_mount.server.faults.report()[0][1] == 2


@pytest.mark.parametrize("place", [1000, 700_000])
def test_wrong_bytes_of_what_was_written_here_are_never_seen(make_mount: MountMaker, place: int) -> None:
    """However big the file is, and after changes of it."""
    data = bytearray(pattern(1, HUGE))
    mount = make_mount()
    (mount.path / "first").write_bytes(data)
    with (mount.path / "first").open("r+b") as file:
        file.seek(HUGE // 2)
        file.write(b"changed")
    data[HUGE // 2 : HUGE // 2 + 7] = b"changed"
    (mount.path / "first").rename(mount.path / "huge")
    mount.remount()
    make_mount.server.faults.replace(
        [Fault(FaultKind.WRONG_BYTES, "b2_download*", times=3, after_bytes=place)]
    )
    with (mount.path / "huge").open("rb") as file:
        file.seek(10 << 20)
        assert_same_bytes(file.read(100_000), data[10 << 20 :][:100_000])
        file.seek(0)
        assert_same_bytes(file.read(), data)
    assert make_mount.server.faults.report()[0][1] == 3


@pytest.mark.parametrize("place", [1000, 700_000, 900_000])
def test_a_wrong_byte_in_a_big_file_is_never_read_unnoticed(make_mount: MountMaker, place: int) -> None:
    """Of a file of somebody else's that is too big to be kept back until its SHA-1 is known, a program
    that reads all of it gets the right bytes or an error, and the next one the right bytes."""
    bucket, data = make_mount.bucket(), pattern(1, HUGE)
    bucket.put("big", data)
    mount = make_mount(bucket=bucket)
    mount.expect_log("big")
    make_mount.server.faults.replace(
        [Fault(FaultKind.WRONG_BYTES, "b2_download*", times=1, after_bytes=place)]
    )
    code, output = mount.programs.attempt(["sha1sum", mount.path / "big"])
    assert output.split()[0] == sha1_of(data) if code == 0 else "Input/output error" in output
    assert make_mount.server.faults.report()[0][1] == 1
    assert_same_bytes((mount.path / "big").read_bytes(), data)


# -- B2 can't be reached at all ----------------------------------------------------------------


class Breakable:
    """An emulator of the test's own that can be away for a while."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = EmulatorServer(directory, port=0).__enter__()

    def go_away(self) -> None:
        self.server.__exit__(None, None, None)

    def come_back(self) -> None:
        port = int(self.server.url.rpartition(":")[2])
        self.server = EmulatorServer(self.directory, port=port).__enter__()


@pytest.fixture
def breakable(tmp_path: Path) -> Iterator[Breakable]:
    emulator = Breakable(tmp_path / "breakable")
    yield emulator
    emulator.go_away()


@pytest.fixture
def cut_off(breakable: Breakable, tmp_path: Path) -> Iterator[tuple[Breakable, Mount]]:
    """A mount whose B2 has gone, after it was mounted."""
    server = breakable.server
    api = open_account(server.url, server.key_id, server.application_key)
    bucket = RemoteBucket(server, api.create_bucket("bucket-away", "allPrivate"))
    bucket.put("file", pattern(1, SMALL))
    bucket.put("directory/file", b"")
    bucket.fill((f"crowd/{number}" for number in range(1100)), b"")
    maker = MountMaker(server, api, tmp_path)
    mount = maker(f"--retry-for={RETRY_FOR}", bucket=bucket)
    mount.expect_log("WARNING")
    mount.expect_log("ERROR")
    assert sorted(os.listdir(mount.path)) == ["crowd", "directory", "file"], (
        "and nothing of what is in the second"
    )
    breakable.go_away()
    yield breakable, mount
    maker.close()


@contextmanager
def fails_with(number: int, within: float) -> Iterator[None]:
    """What is inside must fail so, in time."""
    begun = time.monotonic()
    with pytest.raises(OSError, match="error") as caught:
        yield
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]
    assert time.monotonic() - begun < within


def test_an_unreachable_b2_is_an_error_and_not_a_hang(cut_off: tuple[Breakable, Mount]) -> None:
    """An unreachable B2 is EIO after `--retry-for` (60 s), not a hang."""
    breakable, mount = cut_off
    with fails_with(errno.EIO, BOUND):
        (mount.path / "file").read_bytes()
    with fails_with(errno.EIO, BOUND):
        (mount.path / "new").write_bytes(b"kept for later")
    with fails_with(errno.EIO, BOUND):
        os.listdir(mount.path / "directory")
    breakable.come_back()
    code, output = mount.b2mount("flush", mount.path)
    assert code == 0, output
    assert_same_bytes((mount.path / "file").read_bytes(), pattern(1, SMALL))
    assert mount.bucket.read("new") == b"kept for later"


def test_work_goes_on_when_b2_comes_back_in_time(breakable: Breakable, tmp_path: Path) -> None:
    server = breakable.server
    api = open_account(server.url, server.key_id, server.application_key)
    bucket = RemoteBucket(server, api.create_bucket("bucket-away", "allPrivate"))
    bucket.put("file", pattern(1, SMALL))
    maker = MountMaker(server, api, tmp_path)
    mount = maker("--retry-for=60", bucket=bucket)
    mount.expect_log("WARNING")
    try:
        breakable.go_away()
        reader = mount.programs.start(["sha1sum", mount.path / "file"])
        writer = mount.programs.start(["cp", "/etc/passwd", mount.path / "copy"])
        time.sleep(2)
        assert reader.poll() is None
        assert writer.poll() is None
        breakable.come_back()
        assert mount.programs.finish(reader)[1].split()[0] == sha1_of(pattern(1, SMALL))
        assert mount.programs.finish(writer)[0] == 0
        assert bucket.read("copy") == Path("/etc/passwd").read_bytes()
    finally:
        maker.close()


def test_a_b2_that_never_answers_is_an_error_and_not_a_hang(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.put("file", pattern(1, SMALL))
    bucket.put("directory/file", b"")
    bucket.fill((f"crowd/{number}" for number in range(1100)), b"")  # more than tells of what is behind it
    mount = make_mount(f"--retry-for={RETRY_FOR}", bucket=bucket, limit=100)
    mount.expect_log("WARNING")
    mount.expect_log("ERROR")
    os.listdir(mount.path)
    silent = [Fault(FaultKind.DELAY, name, seconds=90) for name in ("b2_download*", "b2_upload*", "b2_list*")]
    make_mount.server.faults.replace(silent)
    actions: list[Callable[[], object]] = [
        lambda: (mount.path / "file").read_bytes(),
        lambda: (mount.path / "new").write_bytes(b"new"),
        lambda: os.listdir(mount.path / "directory"),
    ]

    def fail(action: Callable[[], object]) -> None:
        with fails_with(errno.EIO, SILENCE_BOUND):
            action()

    with ThreadPoolExecutor(len(actions)) as pool:
        for done in [pool.submit(fail, action) for action in actions]:
            done.result()
    make_mount.server.faults.clear()
    code, output = mount.b2mount("flush", mount.path)
    assert code == 0, output
    assert "new" in mount.bucket.objects()
