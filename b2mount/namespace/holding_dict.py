"""HoldingDict: values by key, of which only those that are held live because they are here.

Invariants: a key has one value at most; a value that is not held goes when its last other user goes.
Held ones cost one slot of a dict each and no weak reference: there may be hundreds of thousands.

Must not know: what the values are.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class HoldingDict(Generic[K, V]):
    """See the module."""

    __slots__ = ("_held", "_lent")

    def __init__(self) -> None:
        self._held: dict[K, V] = {}
        self._lent: WeakValueDictionary[K, V] = WeakValueDictionary()

    def __contains__(self, key: K) -> bool:
        return key in self._held or key in self._lent

    def get(self, key: K) -> V | None:
        """The value of a key."""
        value = self._held.get(key)
        return value if value is not None else self._lent.get(key)

    def put(self, key: K, value: V, *, hold: bool = False) -> None:
        """Let a key have this value, in place of another."""
        self.drop(key)
        if hold:
            self._held[key] = value
        else:
            self._lent[key] = value

    def drop(self, key: K) -> None:
        """Take a key out, if it is here."""
        if self._held.pop(key, None) is None:
            self._lent.pop(key, None)

    def is_held(self, key: K) -> bool:
        """Whether the value of a key lives because it is here."""
        return key in self._held

    def held(self) -> list[V]:
        """The values that are held."""
        return list(self._held.values())

    def all(self) -> list[V]:
        """The values that live."""
        return [*self._held.values(), *self._lent.values()]
