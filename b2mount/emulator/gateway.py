"""From an HTTP request to the API call it is, and back: paths, tokens, faults, counts, error bodies."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

import attrs
from aiohttp import web

from b2mount.emulator import downloads, uploads
from b2mount.emulator.admin import PATH, Admin
from b2mount.emulator.authorize import authorize_account
from b2mount.emulator.call import Call, Fields, Service
from b2mount.emulator.counts import Counts
from b2mount.emulator.errors import ApiError, bad_request, not_found
from b2mount.emulator.faults import Fault, FaultKind, FaultPlan, TestMode
from b2mount.emulator.keys import ACCOUNT
from b2mount.emulator.large_calls import Copy
from b2mount.emulator.records import Version
from b2mount.emulator.replies import Document, Listed, as_json
from b2mount.emulator.requests import ENDPOINTS, PRICES, UPLOADS
from b2mount.emulator.shaping import Shaper
from b2mount.emulator.transfer import CutOff, Transfers, cut

LOG: Final = logging.getLogger(__name__)

NO_STORE: Final = {"Cache-Control": "max-age=0, no-cache, no-store"}
"""On every reply that is not a download."""
NO_PATH: Final = frozenset(("b2_head_file_by_id", "b2_head_file_by_name", "b2_download_file_by_name"))
"""Names of ours in the counts, not names of API calls."""


@attrs.frozen
class Route:
    """What a URL means. `rest` is what follows the name of the call, decoded."""

    endpoint: str
    version: int
    rest: tuple[str, ...]
    query: Mapping[str, str]


class Gateway:
    """Answers every request that is not for the admin path."""

    def __init__(self, service: Service, faults: FaultPlan, shaper: Shaper, counts: Counts) -> None:
        self._service = service
        self._faults = faults
        self._shaper = shaper
        self._counts = counts
        self._transfers = Transfers(service.state.contents, shaper, counts)
        self._upload_tokens = uploads.UploadTokens()
        self._test_mode = TestMode()
        self._admin = Admin(service, faults, shaper, counts)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The reply, be it a refusal. Raises CutOff when the connection has been cut."""
        try:
            if request.path.startswith(PATH):
                return json_reply(200, await self._admin.handle(request))
            path = route(request.method, request.raw_path)
        except ApiError as exc:
            return error_reply(exc)
        self._counts.arrived(path.endpoint)
        try:
            return await self._answer(request, path)
        except ApiError as exc:
            self._counts.answered(path.endpoint, exc.status, billed=not exc.injected)
            await self._shaper.first_byte()
            return error_reply(exc)
        except (ConnectionError, web.RequestPayloadError) as exc:
            raise CutOff from exc
        except CutOff:
            raise
        except Exception as exc:
            LOG.exception("%s failed", path.endpoint)
            self._counts.answered(path.endpoint, 500)
            return error_reply(ApiError(500, "internal_error", str(exc)))

    async def _answer(self, request: web.BaseRequest, path: Route) -> web.StreamResponse:
        if path.endpoint == "b2_authorize_account":
            return await self._authorize(request, path)
        if path.endpoint in ENDPOINTS:
            return await self._call(request, path)
        if path.endpoint in UPLOADS:
            return await self._upload(request, path)
        return await self._download(request, path)

    async def _authorize(self, request: web.BaseRequest, path: Route) -> web.StreamResponse:
        await request.read()
        fault = await self._fault(request, path, "")
        key_id, secret = _basic(request.headers.get("Authorization"))
        reply = authorize_account(self._service, key_id, secret, path.version, _base_url(request))
        return await self._reply(request, path, as_json(reply), fault)

    async def _call(self, request: web.BaseRequest, path: Route) -> web.StreamResponse:
        fields = await _fields(request, path)
        fault = await self._fault(request, path, self._name_of(fields))
        token = self._service.keys.check(_token(request, path), ACCOUNT)
        call = Call(self._service, token.key, fields, path.version, _base_url(request))
        endpoint = ENDPOINTS[path.endpoint]
        call.need(endpoint.capability)
        reply = endpoint.run(call)
        if isinstance(reply, Copy):
            reply = await self._copy(reply)
        if isinstance(reply, Listed):
            return await self._reply(request, path, await listed_body(reply), fault, len(reply.rows))
        rows = len(reply[endpoint.rows]) if endpoint.rows else None
        return await self._reply(request, path, as_json(reply), fault, rows)

    async def _copy(self, copy: Copy) -> Document:
        contents = self._service.state.contents
        if copy.content.sha1:
            return copy.complete(copy.content)
        with contents.blobs.pinned(segment.blob for segment in copy.content.segments):
            loop = asyncio.get_running_loop()
            return copy.complete(await loop.run_in_executor(None, contents.hashed, copy.content.segments))

    async def _upload(self, request: web.BaseRequest, path: Route) -> web.StreamResponse:
        subject = path.rest[0] if path.rest else ""
        is_file = path.endpoint == "b2_upload_file"
        name = uploads.decoded(request.headers.get("X-Bz-File-Name", "")) if is_file else self._name(subject)
        fault = await self._fault(request, path, name)
        of = uploads.file_target if is_file else uploads.part_target
        target = of(self._service, subject, request.headers, path.version)
        with self._upload_tokens.held(target.token.token):
            damaged = fault is not None and fault.kind is FaultKind.WRONG_BYTES
            content = await self._transfers.receive(request, target, damaged=damaged)
            try:
                reply = target.complete(content)
            except BaseException:
                self._service.state.contents.discard(content)
                raise
        return await self._reply(request, path, as_json(reply), fault)

    async def _download(self, request: web.BaseRequest, path: Route) -> web.StreamResponse:
        fields = await _fields(request, path)
        overrides = downloads.overrides(fields, path.query)
        version: Version | None
        if path.endpoint.endswith("by_name"):
            name = path.rest[1]
            fault = await self._fault(request, path, name)
            bucket, version = downloads.by_name(self._service, path.rest[0], name)
        else:
            file_id = fields.text("fileId")
            fault = await self._fault(request, path, self._name(file_id))
            bucket, version = downloads.by_id(self._service, file_id)
            name = version.name
        token = request.headers.get("Authorization") or path.query.get("Authorization")
        key = downloads.check_allowed(self._service, bucket, name, token, overrides)
        if version is None:
            raise not_found(f"File with such name does not exist: {name}")
        download = downloads.prepare(self._service, bucket, version, key, request.headers, overrides)
        await self._shaper.first_byte()
        self._counts.answered(path.endpoint, download.status)
        if fault is not None and fault.kind is FaultKind.DROP_AFTER:
            cut(request)
        if request.method == "HEAD":
            return web.Response(status=download.status, headers=download.headers)
        return await self._transfers.send(request, download, fault)

    async def _fault(self, request: web.BaseRequest, path: Route, name: str) -> Fault | None:
        """The fault to suffer later, if any. Raises ApiError or CutOff for those that strike at once."""
        fault = self._faults.take(path.endpoint, name)
        if fault is None:
            fault = self._test_mode.fault(request.headers.get("X-Bz-Test-Mode", ""), path.endpoint)
        if fault is None:
            return None
        if fault.kind is FaultKind.ERROR:
            raise fault.error()
        if fault.kind is FaultKind.SILENCE:
            await asyncio.sleep(fault.seconds)
        if fault.kind in (FaultKind.DROP_BEFORE, FaultKind.SILENCE):
            cut(request)
        if fault.kind is FaultKind.EXPIRED_TOKEN:
            self._service.keys.expire(_token(request, path))
            raise ApiError(401, "expired_auth_token", "Authorization token has expired", injected=True)
        if fault.kind is FaultKind.DELAY:
            await asyncio.sleep(fault.seconds)
        return fault

    async def _reply(
        self,
        request: web.BaseRequest,
        path: Route,
        body: bytes,
        fault: Fault | None,
        rows: int | None = None,
    ) -> web.StreamResponse:
        await self._shaper.first_byte()
        self._counts.answered(path.endpoint, 200, rows)
        reply = body_reply(200, body)
        if fault is not None and fault.kind is FaultKind.DROP_AFTER:
            cut(request)
        if fault is not None and fault.kind in (FaultKind.SLOW_BODY, FaultKind.CUT_BODY):
            return await self._transfers.send_broken(request, reply, fault)
        return reply

    def _name_of(self, fields: Fields) -> str:
        """The file that a call is about, for fault patterns; "" when it names none."""
        name = fields.optional_text("fileName") or fields.optional_text("prefix")
        return name or self._name(fields.optional_text("fileId") or fields.optional_text("largeFileId") or "")

    def _name(self, file_id: str) -> str:
        try:
            return self._service.state.files.get(file_id).name
        except ApiError:
            return ""


def route(method: str, target: str) -> Route:
    """What a request is for. Raises ApiError 404, 405."""
    raw_path, _, raw_query = target.partition("?")
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    pieces = raw_path.lstrip("/").split("/")
    if pieces[0] == "file" and len(pieces) > 2:
        if method not in ("GET", "HEAD"):
            raise ApiError(405, "method_not_allowed", f"only GET or HEAD allowed, got {method}")
        endpoint = "b2_head_file_by_name" if method == "HEAD" else "b2_download_file_by_name"
        name = uploads.decoded("/".join(pieces[2:]))
        return Route(endpoint, 4, (unquote_plus(pieces[1]), name), query)
    if pieces[0] != "b2api" or len(pieces) < 3 or pieces[1] not in ("v1", "v2", "v3", "v4"):
        raise not_found(f"No such path: {raw_path}")
    endpoint = pieces[2]
    is_head = method == "HEAD" and endpoint == "b2_download_file_by_id"
    if not is_head and method not in ("GET", "POST"):
        raise ApiError(405, "method_not_allowed", f"only GET or POST allowed, got {method}")
    if endpoint not in PRICES or endpoint in NO_PATH:
        raise bad_request(f"unknown API call: {endpoint}")
    if is_head:
        endpoint = "b2_head_file_by_id"
    return Route(endpoint, int(pieces[1][1]), tuple(unquote_plus(p) for p in pieces[3:]), query)


async def listed_body(reply: Listed) -> bytes:
    """The JSON of a listing; between its pieces others are answered."""
    body = bytearray()
    for piece in reply.pieces():
        body += piece
        await asyncio.sleep(0)
    return bytes(body)


def json_reply(
    status: int, document: Mapping[str, Any], headers: Mapping[str, str] = NO_STORE
) -> web.Response:
    return body_reply(status, as_json(document), headers)


def body_reply(status: int, body: bytes, headers: Mapping[str, str] = NO_STORE) -> web.Response:
    return web.Response(
        status=status, headers=headers, body=body, content_type="application/json", charset="utf-8"
    )


def error_reply(error: ApiError) -> web.Response:
    headers = dict(NO_STORE)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401 and not error.message:
        headers["WWW-Authenticate"] = 'BASIC realm="authorize_account"'
    return json_reply(
        error.status, {"status": error.status, "code": error.code, "message": error.message}, headers
    )


async def _fields(request: web.BaseRequest, path: Route) -> Fields:
    body = await request.read()
    if request.method != "POST" or (not body and path.query):
        return Fields(path.query, lenient=True)
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError) as exc:
        raise bad_request("The body is not JSON", "bad_json") from exc
    if not isinstance(document, dict):
        raise bad_request("The body is not a JSON object", "bad_json")
    return Fields(document)


def _token(request: web.BaseRequest, path: Route) -> str:
    token = request.headers.get("Authorization") or path.query.get("Authorization")
    if token is None:
        raise ApiError(401, "missing_auth_token", "Authorization header is missing")
    return token


def _basic(header: str | None) -> tuple[str, str]:
    if header is None:
        raise ApiError(401, "missing_auth_token", "")
    try:
        text = base64.b64decode(header.removeprefix("Basic ")).decode()
    except (binascii.Error, ValueError) as exc:
        raise ApiError(401, "bad_auth_token", "") from exc
    key_id, _, secret = text.partition(":")
    return key_id, secret


def _base_url(request: web.BaseRequest) -> str:
    return f"http://{request.host}"
