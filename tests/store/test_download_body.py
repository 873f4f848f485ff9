"""Bytes of real connections come whole and in few pieces, and leave nothing set on a socket."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
import requests

from b2mount.store import download_body
from b2mount.store.download_body import FIRST, PIECE, pieces_of

SIZE = 3 * PIECE + 12345
BYTES = bytes(number * 31 % 251 for number in range(1 << 16)) * (SIZE // (1 << 16) + 1)


class Server:
    """Answers each request of each connection with the next of `answers`, sent as they are cut."""

    def __init__(self, answers: Sequence[Sequence[bytes]]) -> None:
        self.connections = 0
        self._answers = iter(answers)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for connection in iter(self._accept, None):
            self.connections += 1
            gone = contextlib.suppress(ConnectionError)
            with gone, connection, connection.makefile("rb") as asked:
                while asked.readline():
                    while asked.readline().strip():
                        pass
                    for piece in next(self._answers):
                        connection.sendall(piece)

    def _accept(self) -> socket.socket | None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return None
        self._open.append(connection)
        return connection

    def close(self) -> None:
        for one in (*self._open, self._listening):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(timeout=10)


def head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.mark.parametrize("most", [1, FIRST + 1, PIECE])
@pytest.mark.parametrize("chunk", [777, 64 * 1024, SIZE])
def test_all_bytes_come(session: requests.Session, chunk: int, most: int) -> None:
    server = Server([[head(SIZE), *cut(BYTES[:SIZE], chunk)]])
    try:
        with session.get(server.url, stream=True, timeout=10) as response:
            pieces = list(pieces_of(response, SIZE, most))
    finally:
        server.close()
    assert b"".join(pieces) == BYTES[:SIZE]
    assert max(map(len, pieces)) <= max(FIRST, most)


def test_what_is_here_already_comes_in_few_pieces(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_body, "GATHERED", 30_000)
    server = Server([[head(SIZE), *cut(BYTES[:SIZE], 1000)]])
    try:
        with session.get(server.url, stream=True, timeout=10) as response:
            sizes = [len(piece) for piece in pieces_of(response, SIZE)]
    finally:
        server.close()
    later = [size for at, size in zip(itertools.accumulate(sizes), sizes, strict=True) if at - size >= FIRST]
    assert len(later) < SIZE // FIRST // 2, sizes  # the kernel gives up earlier when its window is full


def test_a_server_that_has_less_ends_it_at_once(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_body, "GATHERED", 3_600_000)
    length = FIRST + 5000
    server = Server([[head(length), *cut(BYTES[:length], 500)]])
    try:
        with session.get(server.url, stream=True, timeout=10) as response:
            assert b"".join(pieces_of(response, SIZE)) == BYTES[:length]
    finally:
        server.close()


def test_the_next_request_on_the_connection_is_not_held_back(session: requests.Session) -> None:
    server = Server([[head(SIZE), BYTES[:SIZE]], [head(2), b"ok"]])
    try:
        with session.get(server.url, stream=True, timeout=10) as response:
            assert sum(map(len, pieces_of(response, SIZE))) == SIZE
        assert session.get(server.url, timeout=10).content == b"ok"
        assert server.connections == 1
    finally:
        server.close()


def test_what_came_before_the_end_of_the_connection_is_given(session: requests.Session) -> None:
    server = Server([[head(SIZE), BYTES[: PIECE + 99], b""]])
    pieces: list[bytes] = []
    try:
        with session.get(server.url, stream=True, timeout=10) as response:
            threading.Timer(0.2, server.close).start()
            with pytest.raises(Exception, match=r"IncompleteRead|broken"):
                pieces.extend(iter(pieces_of(response, SIZE)))
    finally:
        server.close()
    assert b"".join(pieces) == BYTES[: PIECE + 99]


def test_bytes_that_drip_in_are_given_up(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_body, "SLOWEST", -1.0)
    server = Server([[head(SIZE), BYTES[:SIZE]]])
    try:
        with (
            session.get(server.url, stream=True, timeout=10) as response,
            pytest.raises(requests.Timeout, match="drip"),
        ):
            list(pieces_of(response, SIZE))
    finally:
        server.close()


def test_who_takes_them_slowly_gets_all(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a low --limit-download: what has been handed over waits for its turn there."""
    monkeypatch.setattr(download_body, "SLOWEST", 0.5)
    server = Server([[head(SIZE), BYTES[:SIZE]]])
    taken = 0
    try:
        with session.get(server.url, stream=True, timeout=10) as response:
            for number, piece in enumerate(pieces_of(response, SIZE)):
                taken += len(piece)
                time.sleep(0.6 if number < 2 else 0)
    finally:
        server.close()
    assert taken == SIZE


class Dripping:
    """A body under TLS of which 128 KiB come at once, and then little by little."""

    connection = None
    length_remaining = SIZE

    def __init__(self) -> None:
        self.given = 0

    def read1(self, most: int, *, decode_content: bool) -> bytes:
        assert not decode_content
        count = FIRST if not self.given else 1000
        self.given += count
        return BYTES[self.given - count : self.given][:most]


def test_what_came_before_it_dripped_in_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    response, body = requests.Response(), Dripping()
    response.raw = body
    clock = SimpleNamespace(monotonic=lambda: 100.0 if body.given > FIRST + 5000 else 0.0)
    monkeypatch.setattr(download_body, "time", clock)
    pieces: list[bytes] = []
    with pytest.raises(requests.Timeout, match="drip"):
        pieces.extend(iter(pieces_of(response, SIZE)))
    assert b"".join(pieces) == BYTES[: body.given]
    assert body.given == FIRST + 6000
