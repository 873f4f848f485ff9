"""Bytes over HTTP: bodies of uploads to blobs, blobs to bodies of downloads, shaped and damaged as told.

Invariants: memory per transfer is a few chunks. Disk and hashing of more than a chunk happen off
the event loop.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import web

from b2mount.emulator.blobs import BlobWriter
from b2mount.emulator.contents import CHUNK, Contents
from b2mount.emulator.counts import Counts
from b2mount.emulator.downloads import Download
from b2mount.emulator.errors import bad_request
from b2mount.emulator.faults import Fault, FaultKind
from b2mount.emulator.records import Content, Segment
from b2mount.emulator.shaping import QUANTUM, Shaper
from b2mount.emulator.uploads import AT_END, SHA1_DIGITS, Target, checked

AT_ONCE: Final = 256 * 1024
"""Bodies up to this size go out together with their headers."""


class CutOff(Exception):
    """The connection has been cut on purpose."""


class Transfers:
    """Both directions."""

    def __init__(self, contents: Contents, shaper: Shaper, counts: Counts) -> None:
        self._contents = contents
        self._shaper = shaper
        self._counts = counts

    async def receive(self, request: web.BaseRequest, target: Target, *, damaged: bool) -> Content:
        """The body of an upload as a checked content. Raises ApiError 400."""
        writer = self._contents.blobs.create()
        try:
            trailer = await self._body(request, target, writer)
            if damaged:
                writer.write(b"?")
            return checked(target, writer.finish(), trailer)
        except BaseException:
            writer.discard()
            raise

    async def _body(self, request: web.BaseRequest, target: Target, writer: BlobWriter) -> bytes:
        """Write the body's bytes, return the hash that follows them, if one does."""
        left = target.size
        trailer = bytearray()
        pending: list[bytes] = []
        waiting = 0
        loop = asyncio.get_running_loop()
        while data := await self._some(request):
            taken = data[:left] if len(data) > left else data
            trailer += data[len(taken) :]
            left -= len(taken)
            pending.append(taken)
            waiting += len(taken)
            if waiting >= CHUNK:
                await loop.run_in_executor(None, writer.write, b"".join(pending))
                pending, waiting = [], 0
        writer.write(b"".join(pending))
        if left or len(trailer) != (SHA1_DIGITS if target.sha1 == AT_END else 0):
            raise bad_request("Content-Length does not match data received")
        return bytes(trailer)

    async def _some(self, request: web.BaseRequest) -> bytes:
        shape = self._shaper.shape
        data = await (request.content.read(QUANTUM) if shape.limits_bytes else request.content.readany())
        self._counts.received(len(data))
        if shape.limits_bytes and data:
            await self._shaper.upload.wait(shape, request.protocol, len(data))
        return data

    async def send(
        self, request: web.BaseRequest, download: Download, fault: Fault | None
    ) -> web.StreamResponse:
        """The reply with its body. Raises CutOff after cutting the connection."""
        shaped = self._shaper.shape.limits_bytes
        if download.size <= (QUANTUM if shaped else AT_ONCE) and fault is None:
            if shaped:
                await self._shaper.download.wait(self._shaper.shape, request.protocol, download.size)
            body = b"".join(self._contents.blobs.read(segment) for segment in download.segments)
            self._counts.sent(len(body))
            return web.Response(status=download.status, headers=download.headers, body=body)
        response = web.StreamResponse(status=download.status, headers=download.headers)
        response.content_length = download.size
        with self._contents.blobs.pinned(segment.blob for segment in download.segments):
            if shaped or fault is not None:
                await self._send_slowly(request, response, download, fault)
            else:
                await self._send_fast(request, response, download)
        await response.write_eof()
        return response

    async def _send_fast(
        self, request: web.BaseRequest, response: web.StreamResponse, download: Download
    ) -> None:
        writer = await response.prepare(request)
        assert writer is not None
        writer.send_headers()
        loop = asyncio.get_running_loop()
        for segment in download.segments:
            path = self._contents.blobs.path(segment.blob)
            if path is None:
                await response.write(self._contents.blobs.read(segment))
            else:
                if request.transport is None:
                    raise ConnectionResetError
                with open(path, "rb", buffering=0) as file:  # noqa: ASYNC230 opening is quick
                    await loop.sendfile(request.transport, file, segment.offset, segment.length)
            self._counts.sent(segment.length)

    async def _send_slowly(
        self, request: web.BaseRequest, response: web.StreamResponse, download: Download, fault: Fault | None
    ) -> None:
        await response.prepare(request)
        sent = 0
        started = time.monotonic()
        for segment in _quanta(download.segments):
            data = self._contents.blobs.read(segment)
            await self._shaper.download.wait(self._shaper.shape, request.protocol, len(data))
            if fault is not None:
                data = await _damage(request, response, data, sent, started, fault)
            await response.write(data)
            sent += len(data)
            self._counts.sent(len(data))


def _quanta(segments: tuple[Segment, ...]) -> list[Segment]:
    return [
        Segment(segment.blob, segment.offset + start, min(QUANTUM, segment.length - start))
        for segment in segments
        for start in range(0, segment.length, QUANTUM)
    ]


async def _damage(
    request: web.BaseRequest,
    response: web.StreamResponse,
    data: bytes,
    sent: int,
    started: float,
    fault: Fault,
) -> bytes:
    """What a body's fault makes of bytes that start at `sent`."""
    within = 0 <= fault.after_bytes - sent < len(data)
    if fault.kind is FaultKind.WRONG_BYTES and within:
        position = fault.after_bytes - sent
        return data[:position] + bytes((data[position] ^ 0xFF,)) + data[position + 1 :]
    if fault.kind is FaultKind.CUT_BODY and within:
        await response.write(data[: fault.after_bytes - sent])
        cut(request)
    if fault.kind is FaultKind.SLOW_BODY:
        due = started + (sent + len(data)) / fault.bytes_per_second
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return data


def cut(request: web.BaseRequest) -> None:
    """Cut the connection. Raises CutOff."""
    if request.transport is not None:
        request.transport.abort()
    raise CutOff
