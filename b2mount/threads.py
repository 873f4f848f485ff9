"""ThreadLane: the only way from trio into a thread.

Invariants: no code outside this module runs anything in a thread; at most `width` calls of a lane
run at once; a thread gets only bytes, paths, file descriptors and b2sdk objects, never our
mutable state.

Lanes are separate so that a `stat` never waits behind sixteen downloads.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import attrs
import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@attrs.frozen(eq=False)
class Doorway:
    """For a thread of a library's own: the only way from there to the trio side."""

    _token: trio.lowlevel.TrioToken

    def call(self, func: Callable[[], T], timeout: float) -> T:
        """Call `func` on the trio side and return what it returns. Raises what it raises, TimeoutError
        after so many seconds, and RuntimeError when there is no trio side any more."""
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                answer.set_result(func())
            except Exception as error:
                answer.set_exception(error)

        try:
            self._token.run_sync_soon(run)
        except trio.RunFinishedError:
            raise RuntimeError("the mount has ended") from None
        return answer.result(timeout)


@attrs.frozen(eq=False)
class ThreadLane:
    """A bounded way from trio into threads."""

    name: str
    width: int
    _limiter: trio.CapacityLimiter = attrs.field(init=False)

    @_limiter.default
    def _make_limiter(self) -> trio.CapacityLimiter:
        return trio.CapacityLimiter(self.width)

    async def run(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call `func` in a thread. When cancelled, returns at once and abandons the thread:
        for reads and questions only."""
        return await trio.to_thread.run_sync(func, *args, abandon_on_cancel=True, limiter=self._limiter)

    async def run_uncancelled(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call `func` in a thread and wait it out even when cancelled: for whatever must not be
        half done behind our back (uploads, fsync, the journal)."""
        return await trio.to_thread.run_sync(func, *args, abandon_on_cancel=False, limiter=self._limiter)

    async def stream(
        self,
        func: Callable[[Callable[[bytes], None], *Ts], T],
        deliver: Callable[[bytes], None],
        *args: *Ts,
    ) -> T:
        """Call `func(emit, *args)` in a thread; each `emit(chunk)` there becomes one
        `deliver(chunk)` on the trio side, in order, all before this returns.

        When cancelled, returns at once and delivers nothing more: the abandoned thread's `emit`
        raises trio.Cancelled's sibling RuntimeError, which ends it at its next chunk.
        """
        token = trio.lowlevel.current_trio_token()
        open_ = True

        def hand_over(chunk: bytes) -> None:
            if open_:
                deliver(chunk)

        def emit(chunk: bytes) -> None:
            if not open_:
                raise RuntimeError("nobody is waiting for these bytes any more")
            token.run_sync_soon(hand_over, chunk)

        try:
            return await self.run(func, emit, *args)
        finally:
            open_ = False
