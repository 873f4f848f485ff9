"""Pure: which files should be fetched before anyone asks, because programs read files in listing order.

A *walk* is a program going through files in order: `grep -r`, `cp -r`, a thumbnailer. It begins with
any file that is read, and goes on when the next file in order is. From then on it wants the files
that come next, twice as many as it has had, up to WINDOW; of a big file only as much as was read of
the big one before. Files of kinds (by suffix) that it passes over are left out from then on.

What it costs to be wrong is bounded: a file that was fetched and passed over is a debt, and a walk
in debt wants nothing until it has gone on in order for a while; a walk that ends with more unused
than used files leaves its debt to those that follow it in the same directory. A walk that nobody
goes on with wants nothing, whatever it has had.

Must not know: what is cached or in flight, handles, time, how order is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Final, Protocol

import attrs
from cachetools import LRUCache

from b2mount.model import ObjectPath, ObjectVersion

WINDOW: Final = 64
"""Files that one walk may be ahead: at 40 ms to the first byte 1600 files a second."""
BYTES: Final = 16 << 20
"""What one walk may have fetched and not used."""
ALL_BYTES: Final = 32 << 20
"""What all of them may: less than half of what the cache keeps in memory."""
HEAD: Final = 1 << 20
"""The most of a big file that is fetched ahead; its own readahead goes on from there."""

_WALKS: Final = 16
_STALE: Final = 64
"""Files read by others after which a walk that nobody went on with gives up what it holds."""
_LOOK: Final = 16
"""How many files further the next one of a walk is looked for."""
_SURE: Final = 4
"""Files in order after which a walk may leave some out, and is known in another directory."""
_GAP: Final = 3
_NEAREST: Final = 4
_STRAGGLERS: Final = 8
"""Files that programs with several threads may read a little later than the ones behind them."""
_MOST_DEBT: Final = 8.0
_IN_DEBT: Final = 2.0
_RELIEF: Final = 0.25
"""What one file in order takes off a debt, a file passed over being 1."""
_DIRECTORIES: Final = 1024


class Order(Protocol):
    """What the namespace knows of the order of files."""

    def following(self, path: ObjectPath, *, deep: bool) -> Iterator[tuple[ObjectPath, ObjectVersion]]:
        """The files that come after a file, or in a directory."""
        ...


@attrs.define(eq=False)
class Visit:
    """A file that a program reads."""

    path: ObjectPath
    version: ObjectVersion
    reach: int = 0
    """How far it has been read from its start."""

    def has_read(self, start: int, stop: int) -> None:
        """Some more was read; what lies beyond a gap is no head."""
        if start <= self.reach:
            self.reach = max(self.reach, stop)


@attrs.frozen
class Wanted:
    """A file to be fetched ahead, or the first `size` bytes of it."""

    path: ObjectPath
    version: ObjectVersion
    size: int


@attrs.define(eq=False)
class Walk:
    """One program's way; the owner of what is fetched ahead for it."""

    last: ObjectPath
    frontier: ObjectPath
    """Everything up to here has been considered."""
    used: int
    had: int = 1
    """Files read in order."""
    hits: int = 0
    debt: float = 0.0
    deep: bool = False
    """Whether it goes from one directory to the next in the order of the tree."""
    ahead: dict[str, Wanted] = attrs.field(factory=dict)
    """By version, in order: what was fetched and has not been read."""
    size: int = 0
    big: Visit | None = None
    """The big file that is being read."""
    head: int = 0
    """How much was read of the big one before."""
    kinds: set[str] = attrs.field(factory=set)
    """Suffixes of what was read."""
    left_out: set[str] = attrs.field(factory=set)
    """Suffixes of what was passed over."""

    @property
    def window(self) -> int:
        """How many files it may be ahead now."""
        if self.had < 2 or self.debt >= _IN_DEBT:
            return 0
        return 2 if self.had == 2 else min(WINDOW, 2 * self.had)

    def wants(self, path: ObjectPath) -> bool:
        """Whether it is a kind of file that the walk reads, as far as that is known."""
        kind = suffix_of(path)
        return kind in self.kinds or kind not in self.left_out

    def goes_on(self, path: ObjectPath) -> None:
        """The next file in order has been read."""
        self.had += 1
        self.debt = max(0.0, self.debt - _RELIEF)
        self.reaches(path)

    def reaches(self, path: ObjectPath) -> None:
        """A file of the walk has been read."""
        self.kinds.add(suffix_of(path))
        self.last = max(self.last, path, key=_place)
        self.frontier = max(self.frontier, path, key=_place)

    def take(self, version_id: str) -> Wanted:
        """What was fetched ahead is no longer: it is used, or was passed over."""
        wanted = self.ahead.pop(version_id)
        self.size -= wanted.size
        return wanted


class Walks:
    """All walks of a mount."""

    def __init__(self, order: Order, is_big: Callable[[ObjectVersion], bool]) -> None:
        self._order = order
        self._is_big = is_big
        self._walks: list[Walk] = []
        self._by_version: dict[str, Walk] = {}
        self._debts: LRUCache[ObjectPath, float] = LRUCache(maxsize=_DIRECTORIES)
        self._clock = 0
        self.ended: list[Walk] = []
        """Walks that are over; whoever fetches for them should stop, and empty this list."""
        self.used = 0
        self.passed_over = 0
        """Files that were fetched ahead, and what became of them."""

    @property
    def size(self) -> int:
        """Bytes that were fetched ahead and not used."""
        return sum(walk.size for walk in self._walks)

    def read(self, visit: Visit) -> Walk:
        """A program has begun to read a file: the walk that this belongs to."""
        self._clock += 1
        walk = self._by_version.get(visit.version.version_id)
        if walk is not None:
            self._hit(walk, visit)
        else:
            walk = self._known_place(visit.path) or self._continued(visit.path) or self._begun(visit.path)
        walk.used = self._clock
        if self._is_big(visit.version):
            walk.head, walk.big = walk.big.reach if walk.big else 0, visit
        self._forget_stale()
        return walk

    def wanted(self, walk: Walk) -> Iterator[Wanted]:
        """What to fetch now for a walk, in order. Each is in the books as soon as it is given; who
        can't have it fetched says so by `give_back` and asks for no more."""
        if not walk.window:
            return
        for path, version in islice(self._order.following(walk.frontier, deep=walk.deep), WINDOW):
            size = self._size_of(walk, version)
            if size and walk.wants(path) and version.version_id not in self._by_version:
                is_full = walk.size + size > BYTES or self.size + size > ALL_BYTES
                if is_full or len(walk.ahead) >= walk.window or walk not in self._walks:
                    return
                wanted = Wanted(path, version, size)
                walk.ahead[version.version_id] = wanted
                walk.size += size
                self._by_version[version.version_id] = walk
                yield wanted
            walk.frontier = max(walk.frontier, path, key=_place)

    def give_back(self, walk: Walk, wanted: Wanted) -> None:
        """It was not fetched for this walk, so it does not count."""
        if wanted.version.version_id in walk.ahead:
            self._take(walk, wanted.version.version_id)

    # -- inside -----------------------------------------------------------------------------

    def _size_of(self, walk: Walk, version: ObjectVersion) -> int:
        if not self._is_big(version):
            return version.size
        return min(walk.head, HEAD, version.size)

    def _hit(self, walk: Walk, visit: Visit) -> None:
        self._take(walk, visit.version.version_id)
        self.used += 1
        walk.hits += 1
        walk.goes_on(visit.path)
        self._count_passed(walk)

    def _count_passed(self, walk: Walk) -> None:
        """What lies behind a walk by more than a few files will not be read any more."""
        behind = list(takewhile(lambda one: _is_before(one.path, walk.last), walk.ahead.values()))
        for wanted in behind[: max(0, len(behind) - _STRAGGLERS)]:
            self._take(walk, wanted.version.version_id)
            walk.left_out.add(suffix_of(wanted.path))
            walk.debt = min(_MOST_DEBT, walk.debt + 1)
            self.passed_over += 1

    def _known_place(self, path: ObjectPath) -> Walk | None:
        """A walk that has just read this very file: reading it again tells nothing."""
        return next((walk for walk in self._walks if walk.last == path), None)

    def _continued(self, path: ObjectPath) -> Walk | None:
        """The walk whose next file this is."""
        directory = path.parent
        here = [walk for walk in self._walks if walk.last.parent == directory and _is_before(walk.last, path)]
        for walk in sorted(here, key=lambda walk: _place(walk.last), reverse=True)[:_NEAREST]:
            between = self._between(walk.last, path, deep=False)
            if between is not None and self._may_skip(walk, path, between):
                self._step(walk, path, between)
                return walk
        others = [walk for walk in self._walks if walk.last.parent != directory]
        for walk in sorted(others, key=lambda walk: -walk.used):
            if self._enters(walk, path):
                walk.last = walk.frontier = path
                walk.goes_on(path)
                return walk
        return None

    def _between(self, start: ObjectPath, path: ObjectPath, *, deep: bool) -> list[ObjectPath] | None:
        """The files that lie between two; None when that is far, or not known."""
        between: list[ObjectPath] = []
        for found, _ in islice(self._order.following(start, deep=deep), _LOOK):
            if found == path:
                return between
            between.append(found)
        return None

    def _may_skip(self, walk: Walk, path: ObjectPath, between: list[ObjectPath]) -> bool:
        """Whether a walk that leaves these out may be taken for the one that is at `path` now."""
        kinds = walk.kinds | {suffix_of(path)}
        missed = sum(suffix_of(one) in kinds for one in between)
        return missed == 0 or (walk.had >= _SURE and missed <= _GAP)

    def _step(self, walk: Walk, path: ObjectPath, between: list[ObjectPath]) -> None:
        if any(suffix_of(one) in walk.kinds for one in between):
            walk.had = max(1, walk.had // 2)
        walk.left_out |= {suffix_of(one) for one in between}
        walk.goes_on(path)
        self._count_passed(walk)

    def _enters(self, walk: Walk, path: ObjectPath) -> bool:
        """Whether a walk has come from another directory to the first file of this one: in the order
        of the tree, or from the end of that directory to one nearby, as programs do that read the
        files of a directory before those below it."""
        between = self._between(walk.last, path, deep=True)
        if between is not None and not any(map(walk.wants, between)):
            walk.deep = True
            return True
        if walk.had < _SURE or not _is_near(walk.last.parent, path.parent):
            return False
        before_it = self._between(path.parent, path, deep=False)
        left = islice(self._order.following(walk.last, deep=False), _LOOK)
        if before_it is None or any(map(walk.wants, before_it)) or any(walk.wants(one) for one, _ in left):
            return False
        walk.deep = False
        return True

    def _begun(self, path: ObjectPath) -> Walk:
        if len(self._walks) == _WALKS:  # one that never went on goes first, else the one longest unused
            self._end(min(self._walks, key=lambda walk: (walk.had > 1, walk.used)))
        walk = Walk(path, path, self._clock, debt=self._debts.get(path.parent, 0.0))
        walk.kinds.add(suffix_of(path))
        self._walks.append(walk)
        return walk

    def _forget_stale(self) -> None:
        for walk in [walk for walk in self._walks if walk.ahead and walk.used < self._clock - _STALE]:
            self._end(walk)

    def _end(self, walk: Walk) -> None:
        unused = len(walk.ahead)
        if unused > walk.hits:
            self._debts[walk.last.parent] = min(_MOST_DEBT, walk.debt + unused)
        else:
            self._debts.pop(walk.last.parent, None)
        for version_id in list(walk.ahead):
            self._take(walk, version_id)
        self.passed_over += unused
        self._walks.remove(walk)
        self.ended.append(walk)

    def _take(self, walk: Walk, version_id: str) -> Wanted:
        self._by_version.pop(version_id, None)
        return walk.take(version_id)


def suffix_of(path: ObjectPath) -> str:
    """What kind of file it is by its name: `jpg`; empty for names without a dot inside."""
    stem, _, suffix = path.name.rpartition(".")
    return suffix.lower() if stem else ""


def _place(path: ObjectPath) -> tuple[str, str]:
    """Listings are in the order of keys, and so are trees of them."""
    return path.bucket, path.key


def _is_before(one: ObjectPath, other: ObjectPath) -> bool:
    return _place(one) < _place(other)


def _is_near(left: ObjectPath, entered: ObjectPath) -> bool:
    """Whether a program that goes through a tree may enter this directory after that one."""
    return entered != left and entered.parent.holds(left)
