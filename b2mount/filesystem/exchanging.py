"""Swapper: two names change places (renameat2 with RENAME_EXCHANGE), with all that is below them.

Invariants: what is on its way to B2 under either name is there before they change places, so that
nothing has to be sent under another name than it was recorded with; open handles follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from b2mount.errors import InvalidArgument, NotPermitted
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.creating import check_allowed
from b2mount.filesystem.gate import PathGate
from b2mount.filesystem.keys import check_keys
from b2mount.filesystem.removing import Remover
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import check_moved, check_new_directory_name, check_new_name
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectStore
from b2mount.writing.exchanger import swaps_of
from b2mount.writing.mover import Mover
from b2mount.writing.write_back import WriteBack

_ASIDE: Final = "\0aside"
"""No path can spell it: where one of the two is while the other takes its name, at one moment."""


@attrs.define(eq=False)
class Swapper:
    """See the module."""

    _namespace: Namespace
    _store: ObjectStore
    _committer: Committer
    _write_back: WriteBack
    _mover: Mover
    _remover: Remover
    _gate: PathGate

    async def exchange(self, one: tuple[Inode, str], other: tuple[Inode, str]) -> None:
        """Raises NotFound, InvalidArgument, what B2 or the name rules refuse, and the errors of uploads;
        then nothing has changed its name."""
        if await self._mover.take_back():
            self._namespace.forget_listing(None)
        first, second = await self._namespace.lookup(*one), await self._namespace.lookup(*other)
        if first is second:
            return
        for inode, place in ((first, other), (second, one)):
            if inode.is_directory and inode.path.holds(place[0].path):
                raise InvalidArgument("a directory can't change places with what is in it")
            if inode.path.is_bucket or place[0].path.is_account:
                raise NotPermitted("B2 renames no buckets, and nothing else stands beside them")
            check = check_new_directory_name if inode.is_directory else check_new_name
            check(place[0].path, place[1])
            check_allowed(self._store, place[0].path, place[1])
        for inode in (first, second):  # all that takes long, while others may still go on
            await self._committer.commit_all(inode.path)
            await self._write_back.flush(inode.path)
        async with (
            self._gate.moving(lambda: first.path, lambda: second.path) as paths,
            self._committer.all_sent(paths),
        ):
            self._mover.check_taken_back()
            with self._write_back.holding(paths[0]), self._write_back.holding(paths[1]):
                versions, left = await self._swap_objects(first, second)
                self._swap_names(first, second, one, other)
                for version in versions:
                    self._committer.arrived(version)
        await self._remover.moved(left)
        for inode in (first, second):
            if inode.is_directory:
                await self._remover.keep(inode)

    async def _swap_objects(
        self, first: Inode, second: Inode
    ) -> tuple[Sequence[ObjectVersion], list[ObjectPath]]:
        """The new versions, and the names that none of them has."""
        there, here = _path_of(first, second), _path_of(second, first)
        moves = [(version, version.path.moved(first.path, there)) for version in await self._objects(first)]
        moves += [(version, version.path.moved(second.path, here)) for version in await self._objects(second)]
        try:
            for version, destination in moves:
                check_moved(version.path, destination)
            await check_keys(self._store, [version for version, _ in moves])
            swaps = swaps_of(moves)
            return await self._mover.exchange(swaps), [swap.source.path for swap in swaps if swap.hides]
        finally:  # what was listed meanwhile shows some of both
            for path in (first.path, second.path):
                self._namespace.forget_listing(path)

    async def _objects(self, inode: Inode) -> list[ObjectVersion]:
        if inode.is_directory:
            return await self._namespace.subtree(inode)
        return [inode.version] if inode.version is not None else []

    def _swap_names(
        self, first: Inode, second: Inode, one: tuple[Inode, str], other: tuple[Inode, str]
    ) -> None:
        self._namespace.moved(first, one[0], _ASIDE)
        self._namespace.moved(second, *one)
        self._namespace.moved(first, *other)


def _path_of(inode: Inode, place: Inode) -> ObjectPath:
    """What an inode's path is where another one is now."""
    parent, name = place.path.parent, place.path.name
    return parent.directory(name) if inode.is_directory else parent.file(name)
