"""Pace: how soon the next request of a kind may go out.

B2 gives a new account 500 requests a second each way and says 429 beyond; what an account may do in
fact differs, and its other programs take their part.

Invariants: of each kind at most `per_second` go out in any second but for one second's worth at once
after a rest; while B2 has asked for fewer, none of the kind goes out, whoever wants it, and after
that they go one by one, at half the rate until it has recovered. Used from the trio thread only.

Must not know: what is asked, and why.
"""

from __future__ import annotations

import math
from typing import Final

import attrs
import trio

from b2mount.errors import Unavailable

PER_SECOND: Final = 500.0
LISTINGS_PER_SECOND: Final = 250.0
"""Listings count among what B2 allows, and reading shall not have to wait for them."""
SLOWEST: Final = 1.0
RECOVERY: Final = 1.01
"""The rate's growth with each request that went out since B2 asked for fewer."""
LONGEST_HOLD: Final = 300.0
"""Seconds that B2 is believed that nothing should be asked at all."""


@attrs.define(eq=False)
class Pace:
    """The rate of one kind of request."""

    per_second: float = PER_SECOND
    _rate: float = attrs.field(init=False)
    _taken_until: float = attrs.field(init=False, default=-math.inf)
    """If they were spread evenly, those that were let out would take until then."""
    _held_until: float = attrs.field(init=False, default=-math.inf)

    @_rate.default
    def _full(self) -> float:
        return self.per_second

    async def turn(self, deadline: float) -> None:
        """Return when a request may go out. Raises Unavailable at once when B2 does not want to hear
        of it before `deadline`, trio's time."""
        while True:
            if self._held_until > max(deadline, trio.current_time()):
                raise Unavailable("B2 asks for fewer requests")
            place = self._next_place()
            if place > trio.current_time():
                await trio.sleep_until(place)
            if not self.is_held:
                return

    @property
    def is_held(self) -> bool:
        """Whether none is to go out now."""
        return self._held_until > trio.current_time()

    def hold(self, seconds: float) -> None:
        """B2 has asked for fewer requests: none for so long, and fewer then."""
        now = trio.current_time()
        if now >= self._held_until:  # else it says the same to those that were on their way already
            self._rate = max(SLOWEST, self._rate / 2)
        self._held_until = max(self._held_until, now + min(seconds, LONGEST_HOLD))
        self._taken_until = max(self._taken_until, self._held_until + 1)

    def _next_place(self) -> float:
        start = max(self._taken_until, trio.current_time())
        self._taken_until = start + 1 / self._rate
        self._rate = min(self.per_second, self._rate * RECOVERY)
        return start - 1 if start > trio.current_time() else start


@attrs.define(eq=False)
class Paces:
    """One Pace for each kind of request of an account."""

    _kinds: dict[str, Pace] = attrs.field(init=False, factory=dict)

    def of(self, call: str) -> Pace:
        """The pace that a call shares with all of its kind."""
        kind = kind_of(call)
        if kind not in self._kinds:
            self._kinds[kind] = Pace(LISTINGS_PER_SECOND if kind == "list" else PER_SECOND)
        return self._kinds[kind]


def kind_of(call: str) -> str:
    """What B2 limits together, as far as we know: listings, downloads (and HEADs), uploads, tokens,
    and everything else."""
    for kind in ("list", "download", "head", "upload", "get_upload", "authorize"):
        if call.startswith(f"b2_{kind}_"):
            return {"head": "download", "get_upload": "upload"}.get(kind, kind)
    return "change"
