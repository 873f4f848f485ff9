"""What systemd is told of a mount that it runs (`Type=notify`): sd_notify(3) over NOTIFY_SOCKET.

Invariants: a service manager that does not listen never stops or fails a mount; what is asked for when
the mount ends is bounded, so that a mount that hangs is ended by systemd all the same.
Must not know: mounts.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Final

import attrs
import trio

log = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two words while the mount ends."""
AHEAD: Final = 20.0
"""Seconds from each word on that systemd is to wait, whatever its own limit is."""
SENDING: Final = 1.0
"""Seconds that one word may take."""


@attrs.define(eq=False)
class ServiceManager:
    """The one that started this process, if there is one."""

    _address: str | None
    """NOTIFY_SOCKET: a path, or `@` and an abstract name; None where nobody listens."""
    _stopping: trio.Event = attrs.field(factory=trio.Event)

    def ready(self, status: str) -> None:
        """The service is up."""
        self._tell("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        """The service has begun to end, for whatever reason. Can be said more than once."""
        self._stopping.set()

    async def run(self, status: Callable[[], str], longest: float) -> None:
        """From `stopping` on, say how far the end is and ask for time, for `longest` seconds."""
        await self._stopping.wait()
        self._tell("STOPPING=1")
        until = trio.current_time() + longest
        while trio.current_time() < until:
            self._tell(f"EXTEND_TIMEOUT_USEC={AHEAD * 1e6:.0f}", f"STATUS={status()}")
            await trio.sleep(EVERY)

    def _tell(self, *words: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_manager:
                to_manager.settimeout(SENDING)
                lines = "\n".join(word.replace("\n", " ") for word in words)  # a line is an assignment
                to_manager.sendto(lines.encode(errors="replace"), address)
        except OSError as error:
            log.debug("the service manager can't be told: %s", error)
