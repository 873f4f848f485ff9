"""EmulatorServer: a B2 that listens on a port of this machine.

Invariants: everything a client was told has happened survives the death of the process. The event
loop runs in one thread and owns the state; `run` brings other threads' work there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from aiohttp import web

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.call import Service
from b2mount.emulator.clock import Clock
from b2mount.emulator.counts import Counts
from b2mount.emulator.errors import not_found
from b2mount.emulator.faults import FaultPlan
from b2mount.emulator.gateway import Gateway
from b2mount.emulator.keys import KeyRing
from b2mount.emulator.lifecycle import LifecycleReport, run_lifecycle
from b2mount.emulator.records import Attributes
from b2mount.emulator.seeding import seed
from b2mount.emulator.shaping import Shape, Shaper
from b2mount.emulator.transfer import CutOff

T = TypeVar("T")

CREDENTIALS = "credentials.json"


class EmulatorServer:
    """A local B2. `with EmulatorServer(directory) as server:` runs it in a thread.

    `directory` None keeps everything in memory. Port 0 takes a free one. `url` is the realm.
    """

    def __init__(
        self,
        directory: Path | None = None,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        recommended_part: int = 100_000_000,
        minimum_part: int = 5_000_000,
        clock: Clock | None = None,
    ) -> None:
        self.state = BucketState(directory, clock=clock, minimum_part=minimum_part)
        self.keys = KeyRing(self.state.database, self.state.clock)
        self.service = Service(self.state, self.keys, recommended_part, minimum_part)
        self.faults = FaultPlan()
        self.shaper = Shaper()
        self.counts = Counts()
        self.key_id = self.keys.master.key_id
        self.application_key = self.keys.master.secret
        self.url = ""
        self._gateway = Gateway(self.service, self.faults, self.shaper, self.counts)
        self._address = (host, port)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        if directory is not None:
            _keep_credentials(directory / CREDENTIALS, self.key_id, self.application_key)

    @property
    def shape(self) -> Shape:
        """How slow it is; may be set at any time."""
        return self.shaper.shape

    @shape.setter
    def shape(self, shape: Shape) -> None:
        self.shaper.shape = shape

    def __enter__(self) -> Self:
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run_thread, args=(ready,), name="emulator", daemon=True)
        self._thread.start()
        ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()

    def run(self, work: Callable[[], T]) -> T:
        """Do something to the state, from another thread, between two requests."""
        if self._loop is None:
            return work()
        result: concurrent.futures.Future[T] = concurrent.futures.Future()

        def call() -> None:
            try:
                result.set_result(work())
            except BaseException as exc:
                result.set_exception(exc)

        self._loop.call_soon_threadsafe(call)
        return result.result()

    def seed(self, bucket_name: str, names: Iterable[str], *, size: int = 0) -> int:
        """Give each of these distinct names a new version of so many zero bytes, fast."""
        return self.run(lambda: self._seed(bucket_name, names, size))

    def run_lifecycle(self, *, days: float = 0) -> LifecycleReport:
        """Apply every lifecycle rule as if so many days had passed."""
        return self.run(lambda: run_lifecycle(self.state, days=days))

    def expire_tokens(self, kind: str | None = None) -> int:
        """Make every token old, or those of a kind (keys.ACCOUNT, UPLOAD, PART, DOWNLOAD)."""
        return self.run(lambda: self.keys.expire_tokens(kind))

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Listen until `stop` or cancellation; `on_ready` is called once `url` is right."""
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = web.Server(
            self._handle,
            auto_decompress=False,
            read_bufsize=1 << 18,
            max_line_size=1 << 16,
            max_field_size=1 << 16,
        )
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        try:
            listener = self._listen()
            await web.SockSite(runner, listener, backlog=512).start()
            host, port = listener.getsockname()[:2]
            self.url = f"http://{host}:{port}"
            on_ready()
            await self._stop.wait()
        finally:
            await runner.cleanup()
            self._loop = None
            self.state.close()

    def stop(self) -> None:
        """End `serve`. From the loop's own thread."""
        if self._stop is not None:
            self._stop.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            response = await self._gateway.handle(request)
        except CutOff:
            return web.Response()  # never arrives
        if not response.prepared:
            response.headers["Date"] = self.state.clock.http_date()
        return response

    def _seed(self, bucket_name: str, names: Iterable[str], size: int) -> int:
        bucket = self.state.buckets.named(bucket_name)
        if bucket is None:
            raise not_found(f"Bucket does not exist: {bucket_name}")
        content = self.state.store(bytes(size))
        return sum(seed(self.state, bucket, names, content, Attributes("application/octet-stream")))

    def _listen(self) -> socket.socket:
        host, port = self._address
        return socket.create_server((host, port), backlog=512)

    def _run_thread(self, ready: concurrent.futures.Future[None]) -> None:
        try:
            asyncio.run(self.serve(lambda: ready.set_result(None)))
        except BaseException as exc:
            if ready.done():
                raise
            ready.set_exception(exc)


def serve(
    directory: Path,
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    on_ready: Callable[[EmulatorServer], None],
) -> None:
    """Run an emulator in the main thread until SIGINT or SIGTERM. Prints nothing; `on_ready` is given the
    server once it listens. At the first start a master key is made, in DIR/credentials.json.
    Raises OSError for the port or the directory, DirectoryInUse."""
    server = EmulatorServer(directory, port, host=host)

    def ready() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        on_ready(server)

    asyncio.run(server.serve(ready))


def _keep_credentials(file: Path, key_id: str, application_key: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as target:
        json.dump({"key_id": key_id, "application_key": application_key}, target, indent=2)
        target.write("\n")
