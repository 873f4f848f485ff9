"""Bytes over HTTP: bodies of uploads to blobs, blobs to bodies of downloads, shaped and damaged as told.

Invariants: memory per transfer is a few chunks. Disk and hashing of more than a chunk happen off
the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final, NoReturn

from aiohttp import web

from b2mount.emulator.blobs import BlobWriter
from b2mount.emulator.contents import CHUNK, Contents
from b2mount.emulator.counts import Counts
from b2mount.emulator.downloads import Download
from b2mount.emulator.errors import bad_request
from b2mount.emulator.faults import Fault, FaultKind
from b2mount.emulator.records import Content, Segment
from b2mount.emulator.shaping import Shaper
from b2mount.emulator.uploads import AT_END, SHA1_DIGITS, Target, checked

AT_ONCE: Final = 256 * 1024
"""Bodies up to this size go out together with their headers."""


LARGEST_WITH_MD5: Final = 16 * 1024 * 1024
"""Above it contentMd5 is null, as B2 allows: MD5 would be what limits the speed of uploads."""


class CutOff(Exception):
    """The connection has been cut on purpose."""


class Transfers:
    """Both directions."""

    def __init__(self, contents: Contents, shaper: Shaper, counts: Counts) -> None:
        self._contents = contents
        self._shaper = shaper
        self._counts = counts

    async def receive(self, request: web.BaseRequest, target: Target, *, damaged: bool) -> Content:
        """The body of an upload as a checked content; `damaged` changes its first byte on the way.
        Raises ApiError 400."""
        writer = self._contents.blobs.create(with_md5=target.size <= LARGEST_WITH_MD5)
        try:
            trailer = await self._body(request, target, writer, damaged=damaged)
            return checked(target, writer.finish(), trailer)
        except BaseException:
            writer.discard()
            raise

    async def send(
        self, request: web.BaseRequest, download: Download, fault: Fault | None
    ) -> web.StreamResponse:
        """A download's reply with its body. Raises CutOff after cutting the connection."""
        if fault is not None or self._shaper.shape.limits_bytes:
            quantum = self._shaper.shape.quantum
            pieces = (self._contents.blobs.read(piece) for piece in _quanta(download.segments, quantum))
            return await self._send_slowly(request, download, pieces, fault)
        if download.size <= AT_ONCE:
            body = b"".join(self._contents.blobs.read(segment) for segment in download.segments)
            self._counts.sent(len(body))
            return web.Response(status=download.status, headers=download.headers, body=body)
        return await self._send_fast(request, download)

    async def send_broken(
        self, request: web.BaseRequest, reply: web.Response, fault: Fault
    ) -> web.StreamResponse:
        """A reply other than a download's, slow or cut as told. Raises CutOff."""
        body = reply.body if isinstance(reply.body, bytes) else b""
        download = Download(reply.status, dict(reply.headers), (), len(body))
        pieces = (body[start : start + 16] for start in range(0, len(body), 16))
        return await self._send_slowly(request, download, pieces, fault)

    async def _body(
        self, request: web.BaseRequest, target: Target, writer: BlobWriter, *, damaged: bool
    ) -> bytes:
        """Write the body's bytes, return the hash that follows them, if one does."""
        left = target.size
        trailer = bytearray()
        pending = bytearray()
        writing: asyncio.Future[None] | None = None
        loop = asyncio.get_running_loop()
        while data := await self._some(request):
            pending += data[:left]
            trailer += data[left:]
            left -= min(left, len(data))
            if damaged and pending:
                pending[0] ^= 0xFF
                damaged = False
            if len(pending) >= CHUNK:
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(None, writer.write, pending)  # while the next one arrives
                pending = bytearray()
        if writing is not None:
            await writing
        writer.write(pending)
        if left or len(trailer) != (SHA1_DIGITS if target.sha1 == AT_END else 0):
            raise bad_request("Content-Length does not match data received")
        return bytes(trailer)

    async def _some(self, request: web.BaseRequest) -> bytes:
        shape = self._shaper.shape
        data = await (
            request.content.read(shape.quantum) if shape.limits_bytes else request.content.readany()
        )
        self._counts.received(len(data))
        if shape.limits_bytes and data:
            await self._shaper.upload.wait(shape, request.transport, len(data))
        return data

    async def _send_fast(self, request: web.BaseRequest, download: Download) -> web.StreamResponse:
        """Straight from the files to the socket, where files hold the bytes."""
        response, loop = _response(download), asyncio.get_running_loop()
        with self._contents.blobs.pinned(segment.blob for segment in download.segments):
            writer = await response.prepare(request)
            if writer is not None:
                writer.send_headers()
            for segment in download.segments:
                path = self._contents.blobs.path(segment.blob)
                if request.transport is None:
                    raise ConnectionResetError
                if path is None:
                    await response.write(self._contents.blobs.read(segment))
                else:
                    with open(path, "rb", buffering=0) as file:  # noqa: ASYNC230 opening is quick
                        await loop.sendfile(request.transport, file, segment.offset, segment.length)
                self._counts.sent(segment.length)
        await response.write_eof()
        return response

    async def _send_slowly(
        self, request: web.BaseRequest, download: Download, pieces: Iterator[bytes], fault: Fault | None
    ) -> web.StreamResponse:
        """Piece by piece, at the pace of the shape, with the fault's damage."""
        response, shape, sent = _response(download), self._shaper.shape, 0
        damage = None if fault is None else _Damage(fault, download.size)
        with self._contents.blobs.pinned(segment.blob for segment in download.segments):
            await response.prepare(request)
            for piece in pieces:
                await self._shaper.download.wait(shape, request.transport, len(piece))
                data = piece if damage is None else await damage.apply(piece, sent)
                await response.write(data)
                self._counts.sent(len(data))
                if len(data) < len(piece):
                    hang_up(request)
                sent += len(data)
        await response.write_eof()
        return response


class _Damage:
    """What a fault does to a body."""

    def __init__(self, fault: Fault, size: int) -> None:
        self._fault = fault
        self._at = min(fault.after_bytes, size - 1)
        self._started = time.monotonic()

    async def apply(self, data: bytes, sent: int) -> bytes:
        """What arrives of bytes that start at `sent`; fewer mean that the connection ends here."""
        position = self._at - sent
        within = 0 <= position < len(data)
        if self._fault.kind is FaultKind.SLOW_BODY:
            due = self._started + (sent + len(data)) / self._fault.bytes_per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        elif self._fault.kind is FaultKind.WRONG_BYTES and within:
            return data[:position] + bytes((data[position] ^ 0xFF,)) + data[position + 1 :]
        elif self._fault.kind is FaultKind.CUT_BODY and within:
            return data[:position]
        return data


def _response(download: Download) -> web.StreamResponse:
    response = web.StreamResponse(status=download.status, headers=download.headers)
    response.content_length = download.size
    return response


def _quanta(segments: tuple[Segment, ...], quantum: int) -> Iterator[Segment]:
    for segment in segments:
        for start in range(0, segment.length, quantum):
            length = min(quantum, segment.length - start)
            yield Segment(segment.blob, segment.offset + start, length)


def hang_up(request: web.BaseRequest) -> NoReturn:
    """Send what was written so far and end the connection. Raises CutOff."""
    if request.transport is not None:
        request.transport.close()
    raise CutOff


def cut(request: web.BaseRequest) -> NoReturn:
    """End the connection at once. Raises CutOff."""
    if request.transport is not None:
        request.transport.abort()
    raise CutOff
