"""Which requests go wrong, how, and how often.

Invariants: a request takes the first fault that matches it and has not run out. Chance comes from
the fault's own seed, so that a run can be repeated.
"""

from __future__ import annotations

import enum
import fnmatch
import random
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from b2mount.emulator.errors import ApiError


class FaultKind(enum.Enum):
    """What goes wrong."""

    ERROR = "error"
    """A reply with `status` and `code` instead of the work."""
    DROP_BEFORE = "drop_before"
    """The connection is cut; nothing was done."""
    SILENCE = "silence"
    """As above, but only after `seconds` without a byte, as on a line that swallows everything."""
    DROP_AFTER = "drop_after"
    """The connection is cut when the work is done, before the reply."""
    SLOW_BODY = "slow_body"
    """The reply's body goes no faster than `bytes_per_second`."""
    CUT_BODY = "cut_body"
    """The connection is cut after `after_bytes` of the reply's body, before its last byte at the latest."""
    WRONG_BYTES = "wrong_bytes"
    """A download's body has one byte flipped, at `after_bytes` or the last one; an upload arrives damaged."""
    DELAY = "delay"
    """The reply begins `seconds` later."""
    EXPIRED_TOKEN = "expired_token"
    """401 expired_auth_token, and the token stays dead."""


DEFAULT_CODES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "injected"),
    401: ("unauthorized", "injected"),
    403: ("cap_exceeded", "Usage cap exceeded."),
    404: ("not_found", "injected"),
    405: ("method_not_allowed", "injected"),
    408: ("request_timeout", "the request took too long"),
    409: ("conflict", "injected"),
    416: ("range_not_satisfiable", "injected"),
    429: ("too_many_requests", "too many requests"),
    500: ("internal_error", "an internal error occurred"),
    503: ("service_unavailable", "c001_v0001000_t0000 is too busy"),
}


@attrs.frozen
class Fault:
    """One rule. `endpoint` and `name` are shell patterns on the API call and the file name."""

    kind: FaultKind = FaultKind.ERROR
    endpoint: str = "*"
    name: str = "*"
    times: int | None = None
    """How many requests it hits; None for all."""
    skip: int = 0
    """How many matching requests it lets through first."""
    probability: float = 1.0
    seed: int = 0
    status: int = 503
    code: str | None = None
    message: str | None = None
    retry_after: int | str | None = None
    """Seconds, or an HTTP-date."""
    after_bytes: int = 0
    bytes_per_second: float = 1024.0
    seconds: float = 1.0

    def error(self) -> ApiError:
        """The reply of an ERROR fault."""
        code, message = DEFAULT_CODES.get(self.status, ("internal_error", "injected"))
        return ApiError(
            self.status,
            self.code or code,
            self.message or message,
            retry_after=self.retry_after,
            injected=True,
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Fault:
        """From JSON, the fields as above. Raises ValueError, TypeError for what is not one."""
        return cls(**{**document, "kind": FaultKind(document.get("kind", "error"))})

    def to_document(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "kind": self.kind.value}


@attrs.define
class _Rule:
    fault: Fault
    seen: int = 0
    hits: int = 0
    chance: random.Random = attrs.Factory(random.Random)

    def takes(self, endpoint: str, name: str) -> bool:
        fault = self.fault
        if not fnmatch.fnmatchcase(endpoint, fault.endpoint) or not fnmatch.fnmatchcase(name, fault.name):
            return False
        self.seen += 1
        if self.seen <= fault.skip or (fault.times is not None and self.hits >= fault.times):
            return False
        if fault.probability < 1 and self.chance.random() >= fault.probability:
            return False
        self.hits += 1
        return True


class FaultPlan:
    """The rules in force. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._rules.append(_Rule(fault, chance=random.Random(fault.seed)))

    def replace(self, faults: Iterable[Fault]) -> None:
        """These and no others."""
        with self._lock:
            self._rules = [_Rule(fault, chance=random.Random(fault.seed)) for fault in faults]

    def clear(self) -> None:
        self.replace(())

    def take(self, endpoint: str, name: str) -> Fault | None:
        """The fault that this request suffers, if any."""
        with self._lock:
            return next((rule.fault for rule in self._rules if rule.takes(endpoint, name)), None)

    def report(self) -> list[tuple[Fault, int]]:
        """Each rule and how often it has hit."""
        with self._lock:
            return [(rule.fault, rule.hits) for rule in self._rules]


class TestMode:
    """The X-Bz-Test-Mode header: trouble that a client asks for itself."""

    CHANCE: Final = 0.25

    def __init__(self) -> None:
        self._random = random.Random(0)

    def fault(self, mode: str, endpoint: str) -> Fault | None:
        """The trouble for a request with this header, if it is to have some."""
        is_upload = endpoint.startswith("b2_upload_")
        if mode == "force_cap_exceeded" and endpoint != "b2_authorize_account":
            return Fault(status=403)
        if mode == "fail_some_uploads" and is_upload and self._random.random() < self.CHANCE:
            return Fault(status=503)
        plain = not is_upload and endpoint != "b2_authorize_account"
        if mode == "expire_some_account_authorization_tokens" and plain:
            return Fault(FaultKind.EXPIRED_TOKEN) if self._random.random() < self.CHANCE else None
        return None
