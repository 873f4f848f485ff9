"""Exchanger: objects that change places inside B2, all of them or none. Journaled.

Each object is copied, by its version id, over what has its new name: no name is without bytes at any
moment, and no other name is needed meanwhile. When all copies are there, those old names are hidden
that are not the new name of another one.

What a replay finds of an exchange, and what it does:

    it was under way               what was not copied yet is copied, then the old names are hidden; a
                                   name that somebody else has written since is left alone. What was to
                                   be there keeps its old name: it is not hidden, nothing is copied over
                                   it, and what has been copied there is deleted
    it was being taken back        the copies that are still there are deleted: what was under their
      (a copy had failed)          names before shows again, as long as what was copied still has its name

What B2 refuses (a cap, the key's rights) stays in the journal for the next mount; this one goes on with the
names as they are. So the next one finds what people have made of what they saw: it deletes no copy then that
was there for them to see.

Invariants: an exchange is in the journal, as one record, before its first request and until it is done
or taken back; nothing is hidden before B2 has confirmed every copy.

Must not know: directories, inodes, what is unsent.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from b2mount.errors import B2MountError, NotFound, Unavailable
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.copying import in_parallel, is_copy, may_pass, newest
from b2mount.writing.journal import Journal
from b2mount.writing.records import UNREADABLE, count_of, path_of, text_of, version_from_json, version_to_json
from b2mount.writing.uploader import Uploader

log = logging.getLogger(__name__)


@attrs.frozen
class Swap:
    """One object, and where it goes."""

    source: ObjectVersion
    destination: ObjectPath
    replaces: str | None
    """The id of the version that has the new name before; None for nothing."""
    hides: bool
    """Whether the old name is nobody's then."""


@attrs.frozen
class Exchange:
    """An exchange on record."""

    key: str
    swaps: tuple[Swap, ...]
    failed_ms: int | None = None
    """Since when it is being taken back."""
    copies: tuple[str, ...] = ()
    """The ids of the versions that are to be taken back; there may be more, whose reply was lost."""
    was_seen: bool = False
    """Whether a mount has gone on with the names as they are, half done."""


def swaps_of(moves: Sequence[tuple[ObjectVersion, ObjectPath]]) -> list[Swap]:
    """Objects with their new names, which may be each other's old ones."""
    there = {version.path: version.version_id for version, _ in moves}
    taken = {path for _, path in moves}
    return [Swap(version, path, there.get(path), version.path not in taken) for version, path in moves]


@attrs.define(eq=False)
class Exchanger:
    """See the module."""

    _store: ObjectStore
    _journal: Journal
    _uploader: Uploader
    _parallel: int
    _owed: list[Exchange] = attrs.field(factory=list, init=False)
    """Those that could not be taken back yet."""
    _open: dict[str, frozenset[ObjectPath]] = attrs.field(factory=dict, init=False)
    """The new names of those that are neither done nor taken back."""
    _left: dict[str, Exchange] = attrs.field(factory=dict, init=False)
    """Those that B2 refuses to finish or to take back: they are the next mount's."""
    _paying: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def exchange(self, swaps: Sequence[Swap]) -> list[ObjectVersion]:
        """Returns the new versions, in order. Raises the first error, and then everything is as before.
        When cancelled, the next mount finishes it, or goes on taking it back. Raises what the store
        raises while an earlier one can't be taken back."""
        await self.pay()
        exchange = Exchange(uuid.uuid4().hex, tuple(swaps))
        self._begin(exchange)
        try:
            await self._record(exchange)
        except Exception:
            del self._open[exchange.key]  # it never began
            raise
        results: dict[int, ObjectVersion] = {}
        failed: list[Exception] = []

        async def copy_one(number: int) -> None:
            try:
                results[number] = await self._uploader.copy(swaps[number].source, swaps[number].destination)
            except Exception as error:
                failed.append(error)

        await in_parallel(self._parallel, copy_one, range(len(swaps)))
        if failed:
            await self._take_back(exchange, [copy.version_id for copy in results.values()])
            raise failed[0]
        for path, error in await self._hide_old_names(exchange.swaps):
            log.warning("%s is under its old name too: %s", path, error)
        await self._end(exchange)
        return [results[number] for number in range(len(swaps))]

    @property
    def owes(self) -> bool:
        """Whether any could not be taken back yet."""
        return bool(self._owed)

    def is_open(self, path: ObjectPath) -> bool:
        """Whether B2 may show a copy under a name which is there for good only when an exchange is done."""
        return any(path in destinations for destinations in self._open.values())

    def left(self) -> Iterator[ObjectVersion]:
        """The versions that are to have their names yet, or again, whoever does it."""
        for exchange in (*self._left.values(), *self._owed):
            yield from (swap.source for swap in exchange.swaps)

    async def has_begun(self) -> bool:
        """Whether an earlier process left any. Raises when the journal can't be read."""
        return bool(await self._recorded())

    async def replay(self) -> bool:
        """Go on with what an earlier process left, but for what B2 refuses. False when B2 is out of reach.
        Raises when the journal can't be read."""
        left = [exchange for exchange in await self._recorded() if exchange.key not in self._left]
        for exchange in left:
            self._begin(exchange)
        for exchange in left:
            try:
                if exchange.failed_ms is None:
                    log.info("finishing an exchange of %d objects", len(exchange.swaps))
                    await self._finish(exchange)
                else:
                    await self._delete_copies(exchange, exchange.failed_ms)
            except Unavailable as error:
                log.warning("an exchange of objects waits: %s", error)
                return False
            except NotFound:
                log.exception("an exchange of objects stays half done")
            except B2MountError as error:
                await self._leave(exchange, error)
                continue
            await self._end(exchange)
        return True

    # -- there -----------------------------------------------------------------------------

    async def _finish(self, exchange: Exchange) -> None:
        swaps = exchange.swaps
        there = {swap.destination: await newest(self._store, swap.destination) for swap in swaps}
        moving = _that_can_move(swaps, there)
        for swap in swaps:
            found = there[swap.destination]
            is_done = is_copy(found, swap.source) and not _is_unchanged(found, swap)
            is_gone = exchange.was_seen and swap.hides and not await self._is_left(swap)
            if swap in moving and not (is_done or is_gone):
                await self._uploader.copy(swap.source, swap.destination)
            elif swap not in moving:
                log.warning("%s keeps its name: others have written to its new one", swap.source.path)
                if is_done and found is not None and not exchange.was_seen:
                    await self._delete(found)
        for _, error in await self._hide_old_names([swap for swap in moving if await self._is_left(swap)]):
            raise error

    async def _is_left(self, swap: Swap) -> bool:
        """Whether the old name still shows what was there."""
        there = await newest(self._store, swap.source.path)
        return there is not None and there.version_id == swap.source.version_id

    async def _hide_old_names(self, swaps: Sequence[Swap]) -> list[tuple[ObjectPath, B2MountError]]:
        """Returns those that could not be hidden, and why."""
        failed: list[tuple[ObjectPath, B2MountError]] = []

        async def hide_one(swap: Swap) -> None:
            try:
                await self._store.hide(swap.source.path)
            except NotFound:
                pass  # somebody removed it meanwhile
            except B2MountError as error:
                failed.append((swap.source.path, error))

        await in_parallel(self._parallel, hide_one, [swap for swap in swaps if swap.hides])
        return failed

    # -- and back --------------------------------------------------------------------------

    async def _take_back(self, exchange: Exchange, copies: Sequence[str]) -> None:
        failed_ms = self._store.now_ms
        exchange = attrs.evolve(exchange, failed_ms=failed_ms, copies=tuple(copies))
        try:
            await self._record(exchange)
            await self._delete_copies(exchange, None)
        except (B2MountError, OSError) as error:
            log.warning("an exchange of objects could not be taken back yet: %s", error)
            self._owed.append(exchange)
        else:
            await self._end(exchange)

    async def pay(self) -> bool:
        """Take back what could not be taken back yet; whether there was any, so that names have others again.
        Before it nobody may carry on what has those names. Raises what the store raises, where it may pass;
        the rest is left to the next mount."""
        has_paid = False
        async with self._paying:
            while self._owed:
                exchange = self._owed[-1]
                try:
                    await self._delete_copies(exchange, exchange.failed_ms)
                except B2MountError as error:
                    if may_pass(error, self._store):
                        raise
                    await self._leave(exchange, error)
                else:
                    await self._end(exchange)
                self._owed.remove(exchange)
                has_paid = True
        return has_paid

    async def _delete_copies(self, exchange: Exchange, until_ms: int | None) -> None:
        """Also those whose reply was lost. Unless it happens at once (None), nothing that came later."""
        for swap in exchange.swaps:
            there = await newest(self._store, swap.destination)
            if there is None or there.version_id == swap.replaces:
                continue
            is_early = until_ms is None or there.uploaded_ms <= until_ms
            if not (there.version_id in exchange.copies or (is_early and is_copy(there, swap.source))):
                continue
            if until_ms is None or await newest(self._store, swap.source.path) is not None:
                await self._delete(there)

    async def _delete(self, copy: ObjectVersion) -> None:
        with suppress(NotFound):  # somebody else has meanwhile
            await self._store.delete_version(copy)

    async def _leave(self, exchange: Exchange, error: B2MountError) -> None:
        """To the next mount."""
        log.warning("an exchange of objects is not done, the next mount tries again: %s", error)
        exchange = self._left[exchange.key] = attrs.evolve(exchange, was_seen=True)
        try:
            await self._record(exchange)
        except (B2MountError, OSError) as failure:
            log.warning("the journal could not take note of it: %s", failure)
        finally:
            self._open.pop(exchange.key, None)

    # -- the journal -----------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        self._open[exchange.key] = frozenset(swap.destination for swap in exchange.swaps)

    async def _record(self, exchange: Exchange) -> None:
        insert = "INSERT OR REPLACE INTO exchanges (id, record) VALUES (?, ?)"
        await self._journal.write([(insert, (exchange.key, _to_json(exchange)))])

    async def _end(self, exchange: Exchange) -> None:
        try:
            await self._journal.write([("DELETE FROM exchanges WHERE id = ?", (exchange.key,))])
        except (B2MountError, OSError) as error:
            log.warning("the journal still lists an exchange that is done: %s", error)
        finally:
            self._open.pop(exchange.key, None)

    async def _recorded(self) -> list[Exchange]:
        found = []
        for key, text in await self._journal.read("SELECT id, record FROM exchanges"):
            try:
                found.append(_from_json(str(key), str(text)))
            except UNREADABLE:
                log.exception("the record of an exchange can't be read; it stays")
        return found


def _is_unchanged(found: ObjectVersion | None, swap: Swap) -> bool:
    """Whether its new name shows what it did before."""
    return (found.version_id if found is not None else None) == swap.replaces


def _that_can_move(swaps: Sequence[Swap], there: Mapping[ObjectPath, ObjectVersion | None]) -> list[Swap]:
    """Those whose new name nobody else has written, and that cover nothing which has to stay for that."""
    moving = [
        swap
        for swap in swaps
        if _is_unchanged(there[swap.destination], swap) or is_copy(there[swap.destination], swap.source)
    ]
    while True:
        staying = {swap.source.path for swap in swaps if swap not in moving}
        left = [swap for swap in moving if swap.destination not in staying]
        if len(left) == len(moving):
            return moving
        moving = left


def _to_json(exchange: Exchange) -> str:
    swaps = [
        [
            version_to_json(swap.source),
            swap.destination.bucket,
            swap.destination.key,
            swap.replaces,
            swap.hides,
        ]
        for swap in exchange.swaps
    ]
    return json.dumps(
        {
            "swaps": swaps,
            "failed_ms": exchange.failed_ms,
            "copies": exchange.copies,
            "was_seen": exchange.was_seen,
        }
    )


def _from_json(key: str, text: str) -> Exchange:
    record = json.loads(text)
    swaps = [
        Swap(version_from_json(source), path_of((bucket, name)), replaces, hides)
        for source, bucket, name, replaces, hides in record["swaps"]
    ]
    failed_ms = record["failed_ms"]
    return Exchange(
        key,
        tuple(swaps),
        None if failed_ms is None else count_of(failed_ms),
        tuple(text_of(copy) for copy in record["copies"]),
        record.get("was_seen") is True,
    )
