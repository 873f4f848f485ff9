"""Flights: many callers with the same question share one request.

Invariants: at most one request per key is under way. The request runs in the task of the caller who
came first; when that one is cancelled the next takes over, so a cancelled caller breaks nobody else.
An error goes to all who waited for it, and leaves no trace.

Must not know: what is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class _Flight(Generic[T]):
    landed: trio.Event = attrs.field(factory=trio.Event)
    stirred: trio.Event = attrs.field(factory=trio.Event)
    """Set when it has told something, or has landed; each stir has another one."""
    results: list[T] = attrs.field(factory=list)
    error: Exception | None = None


class Flights(Generic[T]):
    """Requests under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def join(self, key: Hashable, request: Callable[[], Awaitable[T]]) -> T:
        """The result of the request that is under way for `key`, else of a new one."""
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.error is not None:
                raise flight.error
            if flight.results:
                return flight.results[0]
        return await self._lead(key, request)

    def stir(self, key: Hashable) -> None:
        """The request for `key` has told a part of what it is for."""
        flight = self._flights.get(key)
        if flight is not None:
            flight.stirred.set()
            flight.stirred = trio.Event()

    async def watch(self, key: Hashable, is_enough: Callable[[], bool]) -> None:
        """Until what the request under way for `key` has told is enough, or it has ended; at once when none
        is. Raises its error."""
        flight = self._flights.get(key)
        while flight is not None and not flight.landed.is_set() and not is_enough():
            await flight.stirred.wait()
        if flight is not None and flight.error is not None:
            raise flight.error

    async def _lead(self, key: Hashable, request: Callable[[], Awaitable[T]]) -> T:
        flight: _Flight[T] = _Flight()
        self._flights[key] = flight
        try:
            result = await request()
            flight.results.append(result)
            return result
        except Exception as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            flight.landed.set()
            flight.stirred.set()
