"""What b2sdk and requests would do on their own, and must not."""

from __future__ import annotations

import io
import logging
import time
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import pytest
import trio

from b2mount.model import ByteRange, ObjectMetadata
from b2mount.store.b2_session import Timeouts, close_account, open_account, seconds_until
from b2mount.store.b2_store import open_b2_store
from b2mount.store.credentials import Credentials
from tests.fakes.memory_store import literal
from tests.store.conftest import Site, credentials
from tests.store.scripted_server import ScriptedServer, reply


async def test_no_netrc_and_no_proxy_on_the_way_to_this_machine(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login someone password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    store = await open_b2_store(credentials(site.server), retry_for=1)
    version = await store.put(site.path("file"), literal(b"data"), ObjectMetadata())
    assert await store.stat(version.path) == version
    store.close()


def test_a_proxy_on_the_way_to_b2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "intranet.invalid")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/our-own-ca.pem")
    session = open_account(Credentials("id", "key"), connections=1)
    assert session.raw_api.b2_http.session.proxies["https"] == "http://proxy.invalid:3128"
    assert session.raw_api.b2_http.session.verify == "/etc/our-own-ca.pem"
    close_account(session)


async def test_nothing_secret_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = await open_b2_store(credentials(site.server), retry_for=1)
    version = await store.put(site.path("file"), literal(b"data"), ObjectMetadata())
    await store.list_objects("bucket", "")
    await store.read_range(version, ByteRange(0, 4), lambda _: None)
    token = store._client.session.account_info.get_account_auth_token()
    ((address, *_),) = store._client._idle_urls.values()
    text = caplog.text + repr(store._client) + repr(address)
    for secret in (site.server.application_key, token, address.token):
        assert secret not in text
    store.close()


async def test_connections_are_used_again() -> None:
    with ScriptedServer() as server:
        server.script["b2_list_file_names"] = lambda _: reply({"files": []})
        store = await open_b2_store(server.credentials)
        for _ in range(5):
            await store.list_objects("bucket", "")
        assert len(server._open) == 1
        store.close()


async def test_as_many_connections_as_lanes_are_wide(site: Site) -> None:
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(site.store.list_objects, "bucket", "")
    pools = site.store._client.session.raw_api.b2_http.session.get_adapter("http://").poolmanager.pools
    opened = sum(pools[key].num_connections for key in pools.keys())  # noqa: SIM118 - not a dict
    assert 1 <= opened <= site.store._client.lanes.metadata.width


async def test_the_clock_of_this_machine_does_not_matter() -> None:
    with ScriptedServer() as server:
        old = {"Date": "Fri, 16 Dec 2016 20:52:30 GMT"}
        server.script["b2_list_file_names"] = lambda _: reply({"files": []}, headers=old)
        store = await open_b2_store(server.credentials)
        assert (await store.list_objects("bucket", "")).objects == ()
        assert abs(store.now_ms - parsedate_to_datetime(old["Date"]).timestamp() * 1000) < 2000
        old["Date"] = formatdate(usegmt=True)
        await store.list_objects("bucket", "")
        assert abs(store.now_ms - time.time() * 1000) < 1000
        store.close()


def test_timeouts_reach_the_requests() -> None:
    timeouts = Timeouts(connect=1.5, reply=2.5, upload_reply=3.5, copy=4.5)
    session = open_account(Credentials("id", "key", "http://127.0.0.1:9"), connections=1, timeouts=timeouts)
    http = session.raw_api.b2_http
    seen: dict[str, tuple[float, float]] = {}

    def request(method: str, url: str, *, timeout: tuple[float, float], **_: object) -> None:
        seen[f"{method} {url}"] = timeout
        raise ConnectionError

    http.session.request = request
    for call in (
        lambda: http.post_json_return_json("u/b2_list_file_names", {}, {}),
        lambda: http.post_json_return_json("u/b2_copy_part", {}, {}),
        lambda: http.get_content("u/get", {}),
        lambda: http.head_content("u/head", {}),
        lambda: http.post_content_return_json("u/upload", {}, io.BytesIO()),
    ):
        before = time.monotonic()
        with pytest.raises(Exception, match=r"."):
            call()
        assert time.monotonic() - before < 0.5  # no pause, no second try
    assert seen == {
        "POST u/b2_list_file_names": (1.5, 2.5),
        "POST u/b2_copy_part": (1.5, 4.5),
        "GET u/get": (1.5, 2.5),
        "HEAD u/head": (1.5, 2.5),
        "POST u/upload": (1.5, 3.5),
    }
    close_account(session)


@pytest.mark.parametrize(
    ("date", "now", "seconds"),
    [
        ("Sun, 22 Nov 2026 00:00:50 GMT", "Sun, 22 Nov 2026 00:00:00 GMT", 50),
        ("Sun, 22 Nov 2026 00:00:00 GMT", "Sun, 22 Nov 2026 00:00:50 GMT", 0),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None, -1),
        ("Sun, 22 Nov 2000 00:00:00 GMT", "Mon, 01 Jan 99999999999 00:00:00 GMT", 0),
        ("soon", None, -1),
        (None, None, -1),
    ],
)
def test_how_long_it_is_until_a_date(date: str | None, now: str | None, seconds: int) -> None:
    assert seconds_until(date, now) == seconds
