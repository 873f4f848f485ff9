"""The body of a download, in pieces as they suit those who wait for it and those who carry it.

Every call into a socket gives Python's lock away and has to win it back from all who fetch as well,
and every piece that is handed over wakes the loop: on a fast line that costs more than the bytes do
(512 MiB from this machine: 128,000 futex calls, and 1.4 times as long, where 4,000 are enough). So after
the first bytes, which somebody may be waiting for, the kernel is asked to speak up only when a whole
piece is here, or after a moment.

Must not know: requests to B2, retries, trio.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

import requests

FIRST: Final = 128 * 1024
"""Bytes that are handed over as they arrive."""
PIECE: Final = 1024 * 1024
"""Bytes that are handed over at once from then on, at most."""
SLOWEST: Final = 60.0
"""Seconds that FIRST bytes may take to arrive; a connection slower than that is taken for dead."""
GATHERED: Final = 50
"""Milliseconds in which a piece comes together: one of 1 MiB at 25 MB/s takes 42."""


def pieces_of(response: requests.Response, size: int, most: int = PIECE) -> Iterator[bytes]:
    """The next `size` bytes, or fewer when the server sends no more, about `most` at once. Raises what
    the connection raises, after all that has come, and requests.Timeout when the bytes drip in."""
    connection = _plain_socket(response)
    room_for = FIRST if connection is None else max(FIRST, min(most, PIECE))
    chunks: list[bytes] = []
    done, due, deadline = 0, FIRST, time.monotonic() + SLOWEST
    while done < size:
        room = min(room_for - done % room_for, size - done)
        coming = response.raw.length_remaining or 0
        is_gathered = connection is not None and done >= FIRST and coming > 0
        try:
            if connection is not None and is_gathered:
                _gather(connection, min(room, coming))
            chunk = _next(response, room, deadline)
        except Exception:
            if chunks:
                yield b"".join(chunks)  # what has come is of use
            raise
        if not chunk:
            break
        done += len(chunk)
        chunks.append(chunk)
        if done >= due:
            due, deadline = done - done % FIRST + FIRST, time.monotonic() + SLOWEST
        if is_gathered or len(chunk) == room or done < FIRST:
            handed_over = time.monotonic()
            yield chunk if len(chunks) == 1 else b"".join(chunks)
            deadline += time.monotonic() - handed_over  # whoever takes them may have to be slow
            chunks.clear()
    if chunks:
        yield b"".join(chunks)


def _plain_socket(response: requests.Response) -> socket.socket | None:
    """What the bytes come through; None under TLS, which takes them by its own records and may hold
    some back, and where the connection isn't kept."""
    connection = getattr(response.raw.connection, "sock", None)
    if isinstance(connection, socket.socket) and not isinstance(connection, ssl.SSLSocket):
        return connection
    return None


def _next(response: requests.Response, room: int, deadline: float) -> bytes:
    if time.monotonic() > deadline:
        raise requests.Timeout("the bytes drip in")
    chunk: bytes = response.raw.read1(room, decode_content=False)
    return chunk


def _gather(connection: socket.socket, size: int) -> None:
    """Returns when `size` bytes are here, or the connection has ended, or GATHERED has passed. For
    whoever reads next the socket is as it was: the connection may be another request's by then."""
    with contextlib.suppress(OSError):  # it has ended: the read will say so
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        try:
            waiting = select.poll()
            waiting.register(connection, select.POLLIN)
            waiting.poll(GATHERED)
        finally:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
