"""Patience: how often, after which pauses and for how long one verb is tried.

Invariants: there is a last try; a pause is never longer than what is left; Retry-After wins over
our own back-off, and who is asked for fewer requests holds back all of that kind; time is trio's, so
a MockClock can play it.

Must not know: what is being tried.
"""

from __future__ import annotations

import math
import random
from typing import Final, NoReturn

import attrs
import trio

from b2mount.errors import B2MountError
from b2mount.store.b2_errors import (
    is_out_of_reach,
    is_too_many,
    is_transient,
    translated,
    wait_asked_for,
)
from b2mount.store.pace import Pace

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 16.0
TRIES_AT_ONCE: Final = 5
"""Other upload URLs that are tried without a pause; B2 asks for at least five."""


AWAY: Final = 30.0
"""Seconds for which nobody waits long again, after one verb has waited all its time in vain: else
each step of a program would take as long, one after the other."""


@attrs.define(eq=False)
class Reach:
    """Whether B2 answers, as the verbs of one account have found."""

    _gave_up: float = -math.inf

    @property
    def is_away(self) -> bool:
        """A verb gave up a moment ago, and no other has had an answer since."""
        return trio.current_time() - self._gave_up < AWAY

    def lost(self) -> None:
        """A verb gave up."""
        self._gave_up = trio.current_time()

    def found(self) -> None:
        """A verb got its answer."""
        self._gave_up = -math.inf


@attrs.define(eq=False)
class Patience:
    """The tries of one verb; they end `retry_for` seconds after the first, or after progress. While
    B2 is known to be out of reach there is one try."""

    _retry_for: float
    _reach: Reach = attrs.field(factory=Reach)
    _pace: Pace = attrs.field(factory=Pace)
    renewals: int = attrs.field(init=False, default=0)
    """How often the account's token was renewed on the way."""
    is_new: bool = attrs.field(init=False, default=True)
    """Whether `renew` was not called yet."""
    _deadline: float = attrs.field(init=False)
    _pause: float = attrs.field(init=False, default=FIRST_PAUSE)
    _at_once: int = attrs.field(init=False, default=TRIES_AT_ONCE)

    @_deadline.default
    def _from_now(self) -> float:
        return trio.current_time() + (0 if self._reach.is_away else self._retry_for)

    async def turn(self) -> None:
        """Return when the next try may go out. Raises Unavailable when B2 has asked for fewer requests
        for longer than there is time."""
        await self._pace.turn(self._deadline)

    @property
    def is_held(self) -> bool:
        """Whether B2 has asked for fewer requests since the turn."""
        return self._pace.is_held

    def renew(self) -> None:
        """There was progress: everything begins anew."""
        self.is_new = False
        self._reach.found()
        self._deadline = self._from_now()
        self._pause, self._at_once = FIRST_PAUSE, TRIES_AT_ONCE

    async def before_next_try(self, error: Exception, *, at_once: bool = False) -> None:
        """Sleep until it is time to try again after `error`; with `at_once`, a few times not at all.
        Raises our exception for `error` when it is final or the time is up."""
        if not is_transient(error):
            _raise(error)
        await self.pause(error, at_once=at_once)

    async def before_next_url(self, error: Exception) -> None:
        """The same after an upload that failed, which another upload URL may heal."""
        if not is_transient(error) and self._at_once == 0:
            _raise(error)
        await self.pause(error, at_once=True, is_of_one_host=True)

    async def pause(self, error: Exception, *, at_once: bool = False, is_of_one_host: bool = False) -> None:
        """Sleep, however final `error` looks. Raises when the time is up. What B2 asks for is asked of
        all requests of the kind, unless it `is_of_one_host`, one of many."""
        left, asked = self._deadline - trio.current_time(), wait_asked_for(error)
        if asked and not is_of_one_host:
            self._pace.hold(asked)
        if left <= 0 or (asked is not None and asked > left):
            if left <= 0 and is_out_of_reach(error):
                self._reach.lost()
            _raise(error)
        if at_once and self._at_once > 0 and not asked:
            self._at_once -= 1
            await trio.lowlevel.checkpoint()
            return
        seconds = asked or min(left, self._next_pause())  # "0" must not mean hammering
        if is_too_many(error) and not asked:
            self._pace.hold(seconds)
        await trio.sleep(seconds)

    def _next_pause(self) -> float:
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause


def _raise(error: Exception) -> NoReturn:
    if isinstance(error, B2MountError):
        raise error
    raise translated(error) from error
