"""open_account: a b2sdk session that tries once, waits for a bounded time and meddles with nothing.

b2sdk sleeps in its caller's thread between tries, authorizes once per thread, waits 20 minutes for
a listing, keeps ten connections, obeys ~/.netrc and puts tokens into its debug log. All of that is
switched off here: the retries are ours, on the trio side (`b2_client`).

Invariants: a method of the session sends at most one request; no wait for the network is longer
than Timeouts says; thread-safe, as b2sdk's sessions are.

Must not know: trio.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
import warnings
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final
from urllib.parse import urlsplit

import attrs
import requests
import urllib3
from b2sdk._internal.b2http import NotDecompressingHTTPAdapter  # not public; the SDK is pinned
from b2sdk.v3 import (
    REALM_URLS,
    AbstractAccountInfo,
    B2Http,
    B2HttpApiConfig,
    B2RawHTTPApi,
    B2Session,
    DummyCache,
    HttpCallback,
    InMemoryAccountInfo,
)
from requests.utils import get_environ_proxies

from b2mount.errors import StoreFailure
from b2mount.store.credentials import Credentials
from b2mount.store.interface import Account

SEND_SIZE: Final = 128 * 1024
"""Bytes handed to the kernel at once. The connect time-out is the time one such send may take, so
this bounds the slowest uplink that works: 128 KiB in 20 s."""
LARGEST_REPLY: Final = 256 * 1024 * 1024
LARGEST_ERROR: Final = 16 * 1024
HOSTS: Final = 64
"""Uploads go to many hosts; each has a pool of connections."""

KEEP_ALIVE: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 35_000),
)
"""A network that vanished is noticed after 35 s, also in the middle of a long copy."""


SLACK: Final = 2.0
"""Seconds that two clocks may seem to differ without doing so: an answer takes its time to come."""


@attrs.frozen
class Timeouts:
    """Seconds to wait at most: for a connection, for an answer, for the next bytes of an answer."""

    connect: float = 20
    reply: float = 30
    """Also what a piece of a download, or the whole of a small answer, may take at most."""
    upload_reply: float = 90
    copy: float = 600
    """For what B2 does with up to 5 GB on its own."""


@attrs.frozen
class Authorization:
    """What b2_authorize_account said, as far as we need it."""

    account: Account
    bucket_ids: Mapping[str, str]
    """Of the buckets that the key is bound to, by name."""


SLOW_CALLS: Final = ("b2_copy_file", "b2_copy_part", "b2_finish_large_file")


class OneTryHttp(B2Http):  # type: ignore[misc]  # b2sdk has no types
    """B2Http that sends a request once, and takes no more from the answer than it should."""

    timeouts: Timeouts = Timeouts()

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.clock = ServerClock()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: object = None,
        try_count: int = 1,
        params: Mapping[str, object] | None = None,
        *,
        stream: bool = False,
        _timeout: float | None = None,
    ) -> requests.Response:
        """One try, whatever `try_count` says."""
        timeout = _timeout or (self.timeouts.reply if isinstance(data, bytes) or data is None else None)
        response: requests.Response = super().request(
            method,
            url,
            headers,
            data,
            1,
            params,
            stream=stream,
            _timeout=timeout or self.timeouts.upload_reply,
        )
        return response

    def request_content_return_json(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: object = None,
        try_count: int = 1,
        params: Mapping[str, object] | None = None,
        *,
        _timeout: float | None = None,
    ) -> object:
        """The decoded answer, which may neither drip for ever nor be endless."""
        headers = {**headers, "Accept": "application/json"}
        response = self.request(method, url, headers, data, 1, params, stream=True, _timeout=_timeout)
        try:
            return json.loads(self._body(response))
        finally:
            response.close()

    def post_json_return_json(
        self, url: str, headers: Mapping[str, str], params: Mapping[str, object], try_count: int = 1
    ) -> object:
        """As in b2sdk, but only copies may take as long as a copy."""
        slow = url.endswith(SLOW_CALLS)
        return self.request_content_return_json(
            "POST",
            url,
            {**headers, "Content-Type": "application/json"},
            json.dumps(params).encode(),
            params=params,
            _timeout=self.timeouts.copy if slow else self.timeouts.reply,
        )

    def _body(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + self.timeouts.reply
        body = bytearray()
        for chunk in response.iter_content(64 * 1024):
            body += chunk
            if len(body) > LARGEST_REPLY:
                raise StoreFailure("B2's reply has no end")
            if time.monotonic() > deadline:
                raise requests.Timeout("the answer drips in")
        return bytes(body)


class ShortErrors(HttpCallback):  # type: ignore[misc]  # b2sdk has no types
    """b2sdk reads the body of an error to its end: this sees to it that there is one. And it knows
    Retry-After in seconds only: this makes them of a date."""

    def post_request(
        self, method: str, url: str, headers: Mapping[str, str], response: requests.Response
    ) -> None:
        """Called for every answer, before b2sdk looks at it."""
        if response.status_code in (200, 206):
            return
        response._content = next(response.iter_content(LARGEST_ERROR), b"")
        response._content_consumed = True
        response.close()
        if (seconds := seconds_until(response.headers.get("Retry-After"), response.headers.get("Date"))) >= 0:
            response.headers["Retry-After"] = str(seconds)


def seconds_until(date: str | None, now: str | None) -> int:
    """How long it is until an HTTP-date, by the server's own clock where it tells; 0 when it is over,
    -1 for what is no date."""
    until, begin = _timestamp(date), _timestamp(now)
    if until is None:
        return -1
    return max(0, math.ceil(until - (time.time() if begin is None else begin)))


def _timestamp(date: str | None) -> float | None:
    """Of an HTTP-date; None for what is none, or beyond all calendars."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None


class ServerClock(HttpCallback):  # type: ignore[misc]  # b2sdk has no types
    """By how much B2's clock is ahead of this machine's."""

    ahead: float = 0.0
    """Seconds; 0 until an answer has told otherwise, and where it is no more than SLACK."""

    def post_request(
        self, method: str, url: str, headers: Mapping[str, str], response: requests.Response
    ) -> None:
        """Called for every answer."""
        told = _timestamp(response.headers.get("Date"))
        if told is not None:
            ahead = told + 0.5 - time.time()  # it tells whole seconds
            self.ahead = ahead if abs(ahead) > SLACK else 0.0


class RawApi(B2RawHTTPApi):  # type: ignore[misc]  # b2sdk has no types
    """B2RawHTTPApi that remembers what b2sdk does not keep of an authorization."""

    key_expires_ms: int | None = None

    def authorize_account(self, realm_url: str, key_id: str, application_key: str) -> Mapping[str, object]:
        """One request."""
        reply: Mapping[str, object] = super().authorize_account(realm_url, key_id, application_key)
        expires = reply.get("applicationKeyExpirationTimestamp")
        self.key_expires_ms = expires if isinstance(expires, int) and expires > 0 else None
        return reply


class OneTrySession(B2Session):  # type: ignore[misc]  # b2sdk has no types
    """B2Session that lets a refused token be seen instead of authorizing again by itself."""

    B2HTTP_CLASS = staticmethod(OneTryHttp)

    def _execute_with_auth_retry(self, callback, first_attempt: bool = True):  # type: ignore[no-untyped-def]  # b2sdk's own has no types
        return callback()


class WideAdapter(NotDecompressingHTTPAdapter):  # type: ignore[misc]  # b2sdk has no types
    """As many connections as the lanes are wide, watched by the kernel, sending big pieces."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: object) -> None:
        """Called by requests."""
        kwargs |= {"blocksize": SEND_SIZE, "socket_options": list(KEEP_ALIVE)}
        super().init_poolmanager(connections, maxsize, block, **kwargs)


def open_account(
    credentials: Credentials, *, connections: int, timeouts: Timeouts | None = None
) -> B2Session:
    """A session for these credentials, not authorized yet. Sends nothing. Close it with
    `close_account`."""
    _quieten_libraries()
    session = OneTrySession(
        InMemoryAccountInfo(),
        DummyCache(),
        B2HttpApiConfig(
            http_session_factory=lambda: http_session(credentials.realm),
            install_clock_skew_hook=False,  # refuses to work on a machine whose clock is 10 min off
            user_agent_append="b2mount",
            _raw_api_class=RawApi,
        ),
    )
    http = session.raw_api.b2_http
    http.timeouts = timeouts or Timeouts()
    http.add_callback(ShortErrors())
    http.add_callback(http.clock)
    http.CONNECTION_TIMEOUT = http.timeouts.connect
    http.TIMEOUT = http.timeouts.reply
    http.session.mount("", WideAdapter(pool_connections=HOSTS, pool_maxsize=connections))
    return session


def close_account(session: B2Session) -> None:
    """Close its connections."""
    session.raw_api.b2_http.session.close()


def authorize(session: B2Session, credentials: Credentials) -> Authorization:
    """Fetch a token and what the key may do. One request."""
    session.authorize_account(credentials.realm, credentials.key_id, credentials.application_key)
    return _authorization(session.account_info, session.raw_api.key_expires_ms)


def _authorization(info: AbstractAccountInfo, expires_ms: int | None) -> Authorization:
    allowed = info.get_allowed()
    bound = allowed.get("buckets")
    bucket_ids = {each["name"]: each["id"] for each in bound or () if each["name"] is not None}
    urls = (info.get_api_url(), info.get_download_url())
    texts = (
        *urls,
        info.get_account_auth_token(),
        *bucket_ids,
        *bucket_ids.values(),
        *allowed["capabilities"],
    )
    sizes = (info.get_absolute_minimum_part_size(), info.get_recommended_part_size())
    if not all(isinstance(text, str) and text for text in texts) or not all(
        isinstance(size, int) and 0 < size <= 5_000_000_000 for size in sizes
    ):
        raise StoreFailure("B2's answer to the authorization makes no sense")
    account = Account(
        account_id=str(info.get_account_id()),
        capabilities=frozenset(allowed["capabilities"]),
        buckets=None if bound is None else tuple(sorted(bucket_ids)),
        prefix=allowed.get("namePrefix") or "",
        download_url=info.get_download_url(),
        minimum_part_size=sizes[0],
        recommended_part_size=max(sizes),
        expires_ms=expires_ms,
    )
    return Authorization(account, bucket_ids)


def http_session(realm: str) -> requests.Session:
    """No ~/.netrc (it would replace our Authorization header), no redirects, no cookies; the
    environment's certificates, and its proxies except on the way to this machine, looked up once."""
    session = requests.Session()
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.max_redirects = 0
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["Accept-Encoding"] = "identity"
    url = REALM_URLS.get(realm, realm)
    if urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"}:
        session.proxies = dict(get_environ_proxies(url))
    return session


def _quieten_libraries() -> None:
    """b2sdk's debug log has tokens in it, and it reports through Python warnings what reaches us as
    an exception anyway."""
    logging.getLogger("b2sdk").setLevel(logging.CRITICAL + 1)
    logging.getLogger(urllib3.__name__).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="bad request exception with an unknown")
