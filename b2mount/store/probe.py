"""Probe: what stands between this machine and B2, step by step, for who wonders why it can't be reached.

Invariants: no key goes out; every step ends, by its time-out; nothing is raised for what is wrong.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

import attrs
import requests
from b2sdk.v3 import REALM_URLS

from b2mount.store.b2_session import http_session
from b2mount.threads import ThreadLane

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds for each step."""


@attrs.frozen
class Step:
    """One step on the way to B2."""

    name: str
    seconds: float
    trouble: str | None = None
    """What went wrong, in a few words."""


@attrs.frozen
class Reach:
    """How far one comes."""

    url: str
    steps: tuple[Step, ...]
    """Those that were taken; after one with trouble there is none."""
    skew: float | None = None
    """Seconds that the clock of this machine is ahead of the server's; None when it told no time."""
    proxy: str | None = None
    """The proxy that stands between; then names are its business."""

    @property
    def trouble(self) -> Step | None:
        """The step at which it ended."""
        return next((step for step in self.steps if step.trouble is not None), None)


async def probe(realm: str) -> Reach:
    """Look up, connect to and greet the B2 that `realm` names."""
    return await ThreadLane("probe", 1).run(_probe, REALM_URLS.get(realm, realm))


def _probe(url: str) -> Reach:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    with http_session(url) as session:
        proxy = urlsplit(session.proxies.get(parts.scheme, "")).hostname
        steps: list[Step] = []
        if not proxy:
            addresses, step = _timed("name", lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            steps.append(step)
            if not addresses:
                return Reach(url, tuple(steps))
            connected, step = _timed("connect", lambda: socket.create_connection((host, port), PATIENCE))
            steps.append(step)
            if connected is None:
                return Reach(url, tuple(steps))
            connected.close()
        answer, step = _timed(
            "TLS" if parts.scheme == "https" else "answer",
            lambda: session.head(url, timeout=PATIENCE, allow_redirects=False),
        )
        steps.append(step)
        return Reach(url, tuple(steps), _skew(answer), proxy)


def _timed(name: str, work: Callable[[], T]) -> tuple[T | None, Step]:
    begun = time.monotonic()
    try:
        return work(), Step(name, time.monotonic() - begun)
    except (OSError, requests.RequestException, UnicodeError) as error:
        return None, Step(name, time.monotonic() - begun, _words(error))


def _words(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "the name can't be looked up"
    if isinstance(error, TimeoutError | requests.Timeout):
        return f"nobody answers within {PATIENCE:.0f} s"
    if isinstance(error, requests.exceptions.SSLError | ssl.SSLError):
        return "the server's TLS certificate is not to be trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let us through"
    if isinstance(error, requests.RequestException):
        return "the connection broke off"
    if isinstance(error, OSError):
        return error.strerror or "it can't be reached"
    return "not a name of a machine"


def _skew(answer: requests.Response | None) -> float | None:
    try:
        date = parsedate_to_datetime(answer.headers.get("Date", "")) if answer is not None else None
    except ValueError:
        return None
    return None if date is None else time.time() - date.timestamp()
