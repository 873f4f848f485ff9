"""The path /emulator: what the real B2 has no call for. Counts, faults, shape, seeds, lifecycle, tokens.

    GET    /emulator/counts          what was asked so far, as B2 would bill it
    DELETE /emulator/counts          start again at nothing
    GET    /emulator/faults          the rules, and how often each has hit
    PUT    /emulator/faults          {"faults": [{"kind": "error", "endpoint": "b2_upload_*", "times": 2}]}
    DELETE /emulator/faults
    GET    /emulator/shape
    PUT    /emulator/shape           {"first_byte_ms": 40, "connection_bytes_per_second": 25e6, ...}
    POST   /emulator/seed            {"bucketName": "b", "count": 1000, "size": 10, "prefix": "p/",
                                      "perFolder": 50}: that many small files at once
    POST   /emulator/lifecycle       {"days": 1}: run every rule as if so many days had passed
    POST   /emulator/expire-tokens   {"kind": "acct"}: or upld, uplg, dnld; all without it

Needs no key: whoever reaches the port may do all of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs
from aiohttp import web

from b2mount.emulator.call import Fields, Service
from b2mount.emulator.counts import Counts
from b2mount.emulator.errors import ApiError, bad_request, not_found
from b2mount.emulator.faults import Fault, FaultPlan
from b2mount.emulator.lifecycle import run_lifecycle
from b2mount.emulator.records import Attributes
from b2mount.emulator.seeding import numbered, seed
from b2mount.emulator.shaping import Shape, Shaper

PATH: Final = "/emulator/"

Answer = Mapping[str, Any]


class Admin:
    """Answers the requests under PATH."""

    def __init__(self, service: Service, faults: FaultPlan, shaper: Shaper, counts: Counts) -> None:
        self._service = service
        self._faults = faults
        self._shaper = shaper
        self._counts = counts
        self._table: dict[tuple[str, str], Callable[[dict[str, Any]], Awaitable[Answer]]] = {
            ("GET", "counts"): self._get_counts,
            ("DELETE", "counts"): self._reset_counts,
            ("GET", "faults"): self._get_faults,
            ("PUT", "faults"): self._put_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "shape"): self._get_shape,
            ("PUT", "shape"): self._put_shape,
            ("POST", "seed"): self._seed,
            ("POST", "lifecycle"): self._lifecycle,
            ("POST", "expire-tokens"): self._expire_tokens,
        }

    async def handle(self, request: web.BaseRequest) -> Answer:
        """The reply's JSON. Raises ApiError 400, 404, 405."""
        what = request.path.removeprefix(PATH)
        method = self._table.get((request.method, what))
        if method is None:
            if any(what == known for _, known in self._table):
                raise ApiError(405, "method_not_allowed", f"{request.method} {request.path}")
            raise not_found(f"No such path: {request.path}")
        try:
            document = json.loads(await request.read() or b"{}")
        except (ValueError, RecursionError) as exc:
            raise bad_request("The body is not JSON", "bad_json") from exc
        if not isinstance(document, dict):
            raise bad_request("The body is not a JSON object", "bad_json")
        return await method(document)

    async def _get_counts(self, document: dict[str, Any]) -> Answer:
        return self._counts.snapshot()

    async def _reset_counts(self, document: dict[str, Any]) -> Answer:
        self._counts.reset()
        return self._counts.snapshot()

    async def _get_faults(self, document: dict[str, Any]) -> Answer:
        return {"faults": [{**fault.to_document(), "hits": hits} for fault, hits in self._faults.report()]}

    async def _put_faults(self, document: dict[str, Any]) -> Answer:
        try:
            self._faults.replace([Fault.from_document(item) for item in document["faults"]])
        except (KeyError, TypeError, ValueError) as exc:
            raise bad_request(f"Not a list of faults: {exc}") from exc
        return await self._get_faults(document)

    async def _clear_faults(self, document: dict[str, Any]) -> Answer:
        self._faults.clear()
        return await self._get_faults(document)

    async def _get_shape(self, document: dict[str, Any]) -> Answer:
        return attrs.asdict(self._shaper.shape)

    async def _put_shape(self, document: dict[str, Any]) -> Answer:
        try:
            self._shaper.shape = Shape(**document)
        except (TypeError, ValueError) as exc:
            raise bad_request(f"Not a shape: {exc}") from exc
        return await self._get_shape(document)

    async def _seed(self, document: dict[str, Any]) -> Answer:
        fields, state = Fields(document), self._service.state
        bucket = state.buckets.named(fields.text("bucketName"))
        if bucket is None:
            raise not_found(f"Bucket does not exist: {fields.text('bucketName')}")
        names = numbered(
            fields.integer("count"),
            prefix=fields.optional_text("prefix") or "",
            per_folder=fields.optional_integer("perFolder"),
        )
        content = state.store(bytes(fields.optional_integer("size") or 0))
        attributes = Attributes("application/octet-stream", fields.info())
        count = 0
        for done in seed(state, bucket, names, content, attributes):
            count += done
            await asyncio.sleep(0)  # other requests want their turn
        return {"bucketId": bucket.bucket_id, "count": count}

    async def _lifecycle(self, document: dict[str, Any]) -> Answer:
        days = document.get("days", 0)
        if not isinstance(days, int | float):
            raise bad_request("field days must be a number", "bad_json")
        return attrs.asdict(run_lifecycle(self._service.state, days=days))

    async def _expire_tokens(self, document: dict[str, Any]) -> Answer:
        kind = Fields(document).optional_text("kind")
        return {"expired": self._service.keys.expire_tokens(kind)}
