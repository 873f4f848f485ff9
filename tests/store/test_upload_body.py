"""One pass that reads, hashes and sends."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from pathlib import Path

import pytest

from b2mount.model import ByteSource, FileSlice, Literal, Zeros
from b2mount.store.rate_limit import RateLimit
from b2mount.store.upload_body import PIECE_SIZE, UploadBody, pieces_of


@pytest.fixture
def source(tmp_path: Path) -> ByteSource:
    local = tmp_path / "local"
    local.write_bytes(bytes(i * 7 % 251 for i in range(2 * PIECE_SIZE)))
    return ByteSource(
        (
            Literal(b"abc"),
            FileSlice(str(local), 5, PIECE_SIZE + 77),
            Zeros(PIECE_SIZE + 1),
            Zeros(0),
            Literal(b""),
        )
    )


def expected(source: ByteSource) -> bytes:
    data = b"".join(pieces_of(source))
    assert len(data) == source.size
    return data + hashlib.sha1(data).hexdigest().encode()


@pytest.mark.parametrize("size", [1000, PIECE_SIZE - 1, PIECE_SIZE, 10 * PIECE_SIZE, -1])
def test_reads(source: ByteSource, size: int) -> None:
    body = UploadBody(source)
    pieces = list(iter(lambda: body.read(size), b""))
    assert b"".join(pieces) == expected(source)
    assert len(body) == source.size + 40 == body.tell()
    assert body.sha1 == expected(source)[-40:].decode()


def test_rewinding(source: ByteSource) -> None:
    body = UploadBody(source)
    body.read(100_000)
    assert body.seek(0) == 0
    assert body.read() == expected(source)
    with pytest.raises(io.UnsupportedOperation):
        body.seek(1)


def test_nothing_at_all() -> None:
    assert UploadBody(ByteSource()).read() == hashlib.sha1().hexdigest().encode()


def test_many_readers_of_one_source(source: ByteSource) -> None:
    wanted, seen = expected(source), []

    def read() -> None:
        seen.append(UploadBody(source).read())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [wanted] * 8


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(bytes(10))
    body = UploadBody(ByteSource((FileSlice(str(local), 5, 6),)))
    with pytest.raises(OSError, match="shorter"):
        body.read()
    assert isinstance(body.failure, OSError)


def test_no_file_stays_open(source: ByteSource) -> None:
    before = len(os.listdir("/proc/self/fd"))
    body = UploadBody(source)
    body.read(10)
    body.read(PIECE_SIZE)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    body.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_abandoned(source: ByteSource) -> None:
    body = UploadBody(source)
    body.read(10)
    body.abandon()
    with pytest.raises(OSError, match="nobody"):
        body.read(10)
    assert body.failure is None


def test_the_limit_is_paid_for_every_byte(source: ByteSource) -> None:
    slept: list[float] = []
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    limit = RateLimit(100_000, lambda: now, sleep)
    body = UploadBody(source, limit)
    pieces = list(iter(lambda: body.read(PIECE_SIZE), b""))
    assert max(len(piece) for piece in pieces) <= 25_000
    assert sum(slept) == pytest.approx((source.size + 40) / 100_000 - 1)


def test_a_limit_is_shared() -> None:
    now = 0.0
    waits: list[float] = []
    limit = RateLimit(1000, lambda: now, waits.append)
    for _ in range(4):
        limit.take(1000)
    assert waits == [1.0, 2.0, 3.0]
    now = 100.0
    limit.take(500)
    assert waits == [1.0, 2.0, 3.0]
