"""Journal: the durable list of what B2 does not have yet: sealed files, and renames under way.

SQLite in WAL mode with synchronous=FULL: a change is on disk when its call returns. Changes that
come while one is being written go into the next transaction together.

Invariants: a record is written only after its bytes are durable in the staging directory; a
record of a file disappears only after B2 has confirmed it, when it was unlinked, or in favour of
a later record of the same name; a record holds all it needs (extents, base version, and the
generations below it that are not in B2), so replay is a read. Replaying twice does no harm.

What a crash can leave, and what the next mount does about it:

    1. staged bytes without a record (written, no close or fsync returned): removed, nobody was
       told that they are safe
    2. a record `editing` (an fsync returned, no close): sent as of the last fsync; bytes written
       over after it may be there or not, as on a local disk (never behind a cut: a cut of a recorded
       file is recorded before anything is written there)
    3. a record `sealed`, upload not begun: sent
    4. a record `sealed`, upload under way: sent again; a large file goes on from those parts that
       B2 has and whose bytes are the local ones (upload_log)
    5. a record `sealed`, B2 has it all, the record was not retired: when all bytes are local and
       the name's newest version has the same SHA-1, size and info, it is taken as sent; else it
       is sent again, which makes a second version with the same bytes
    6. no record, staging file still there (retired, file not deleted yet): the file is removed
    7. two records of one name (the earlier not retired yet): the later one is sent
    8. a record whose base is a generation that was not in B2: the record has its extents, and its
       staging file is kept
    9. a record whose staging file is missing or short: reported as failed, kept, never sent
   10. a rename recorded, not copied: copied, then the old name hidden, unless somebody else has
       changed either name since (then nothing is touched)
   11. a rename recorded, copied, the old name not hidden: the copy is recognised, the name hidden
   12. a rename recorded, all done: nothing is left to do but to drop the record; names that were changing
       places: see exchanger
   13. a transaction cut short: SQLite has all of it or nothing
   14. the disk is full and nothing on it gives way: the journal gives up its reserve, so that what B2
       has is struck off and its local bytes make room. Without a reserve those bytes go first, and a
       mark says that B2 has them; the next mount that finds the mark strikes the record off
   15. a record that can't be read (of a later version of this program, say): named in the log and
       kept, with all local files, for a mount that can

   16. a large file on record whose file is not: cancelled; one that is on record as unwanted:
       removed, be it finished or not
   17. a large file finished under what was known at its start, not copied yet to what was said
       later: copied, then the first removed; if it was copied already, only removed. One that was
       finished with other bytes than the record of its file has (it was edited since): removed, and
       the file sent anew

Must not know: the store, when anything is sent.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import attrs
import trio

from b2mount.errors import StoreFailure
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.threads import ThreadLane
from b2mount.writing.journal_change import Change, Stacked, Statement, stacking
from b2mount.writing.local_bytes import NO_SPACE, is_full, sync_directory
from b2mount.writing.records import (
    UNREADABLE,
    MoveRecord,
    path_of_record,
    sealed_from_json,
    sealed_to_json,
    version_from_json,
    version_to_json,
)
from b2mount.writing.reserve import SIZE, Reserve
from b2mount.writing.sealed_file import Fate, SealedFile
from b2mount.writing.staged_file import Staging

log = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    staging_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, state TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS moves (
    number INTEGER PRIMARY KEY AUTOINCREMENT, version TEXT NOT NULL,
    bucket TEXT NOT NULL, key TEXT NOT NULL, begun_ms INTEGER NOT NULL, shown TEXT);
CREATE TABLE IF NOT EXISTS large_files (
    upload_id TEXT PRIMARY KEY, staging_id TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS exchanges (id TEXT PRIMARY KEY, record TEXT NOT NULL);
"""

_UPSERT: Final = """
INSERT INTO files (staging_id, sequence, state, record) VALUES (?, ?, ?, ?)
ON CONFLICT (staging_id) DO UPDATE SET
    sequence = excluded.sequence, state = excluded.state, record = excluded.record
"""

_UNWRITTEN: Final = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC}
"""What SQLite makes of a full quota, and of a disk that finds out late that it is full."""

T = TypeVar("T")


@attrs.define(eq=False)
class Journal:
    """See the module. `open` it before anything else."""

    _path: Path
    _staging: Staging
    _lane: ThreadLane
    _connection: sqlite3.Connection | None = None
    _sequence: int = 0
    _waiting: list[Change] = attrs.field(factory=list)
    _writing: trio.Lock = attrs.field(factory=trio.Lock)
    _reserve: Reserve = attrs.field(init=False)
    _stacked: Stacked = attrs.field(factory=dict)
    owed: Sequence[SealedFile] = attrs.field(default=(), init=False)
    """What `retire` could not drop: the records go with the next transaction, whatever it is for. Until then
    they would be sent by the next mount, over what has taken their names since."""
    has_unreadable: bool = attrs.field(default=False, init=False)
    """Whether `replay` has met records that it could not read: then nobody knows which local files
    they need."""

    @_reserve.default
    def _beside_the_file(self) -> Reserve:
        return Reserve(f"{self._path}.reserve")

    async def open(self) -> None:
        """Make or open the file. Raises StoreFailure when it is broken, OSError."""
        self._connection, self._sequence = await self._on_reserve(lambda: _open(str(self._path)))
        await self._lane.run_uncancelled(self._reserve.hold)

    async def close(self) -> None:
        """Let go of the file, once what is being written is durable."""
        with trio.CancelScope(shield=True):
            async with self._writing:
                connection, self._connection = self._connection, None
                if connection is not None:
                    await self._lane.run_uncancelled(connection.close)

    # -- files -----------------------------------------------------------------------------

    async def append(
        self, sealed: SealedFile, state: str, replaces: Sequence[SealedFile] = (), above: Iterable[str] = ()
    ) -> None:
        """Record a generation, as the latest of all but for those `above` it, in place of an older record of
        the same staging id and of those in `replaces`. `state` is 'editing' or 'sealed'. Raises OSError,
        StoreFailure."""
        added = self._addition(sealed, state)
        statements = [added, *self._renumbering(above), *_deletions(replaces)]
        await self.make(Change(statements, stacking([sealed]), replaces))

    async def rename(
        self,
        renamed: Sequence[SealedFile],
        above: Iterable[str] = (),
        replaces: Sequence[SealedFile] = (),
        restores: Sequence[SealedFile] = (),
    ) -> None:
        """Record the new name or attributes of recorded generations, in this order as the latest of all, with
        the generations `above` them after them; those in `replaces` go, those in `restores` are back. Raises
        OSError, StoreFailure."""
        update = "UPDATE files SET sequence = ?, record = ? WHERE staging_id = ?"
        rows = [(self._next(), sealed_to_json(sealed), sealed.staging_id) for sealed in renamed]
        changes: list[Statement] = [(update, row) for row in rows]
        changes += [*self._renumbering(above), *_deletions(replaces)]
        changes += [self._addition(back, "sealed") for back in restores]
        await self.make(Change(changes, stacking([*renamed, *restores]), replaces))

    async def retire(self, *gone: SealedFile) -> None:
        """Drop the records of generations that are in B2, unlinked or superseded. Records that
        stand on one that is in B2 name its version from now on, in the same transaction."""
        await self.make(Change(_deletions(gone), {}, gone))

    async def replay(self) -> list[SealedFile]:
        """The recorded generations, oldest first. Those of one staging id share a Fate. What can't
        be read is left out, and stays."""
        fates: dict[str, Fate] = {}

        def fate_of(staging_id: str) -> Fate:
            return fates.setdefault(staging_id, Fate())

        found: list[SealedFile] = []
        rows = await self.read("SELECT staging_id, record FROM files ORDER BY sequence")
        for staging_id, text in rows:
            try:
                found.append(sealed_from_json(str(text), fate_of, str(self._staging.directory)))
            except UNREADABLE:
                self.has_unreadable = True
                log.exception("the record of unsent file %s can't be read; it stays", staging_id)
        recorded = {str(staging_id) for staging_id, _ in rows}
        for staging_id, fate in fates.items():
            fate.dropped = staging_id not in recorded
        self._stacked = {k: v for k, v in stacking(found).items() if v is not None}
        return found

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _renumbering(self, staging_ids: Iterable[str]) -> list[Statement]:
        renumber = "UPDATE files SET sequence = ? WHERE staging_id = ?"
        return [(renumber, (self._next(), staging_id)) for staging_id in staging_ids]

    def _addition(self, sealed: SealedFile, state: str) -> Statement:
        return _UPSERT, (sealed.staging_id, self._next(), state, sealed_to_json(sealed))

    # -- renames ---------------------------------------------------------------------------

    async def begin_moves(
        self,
        moves: Sequence[tuple[ObjectVersion, ObjectPath]],
        begun_ms: int,
        replaces: Sequence[SealedFile] = (),
        over: Mapping[ObjectPath, str] = MappingProxyType({}),
    ) -> list[MoveRecord]:
        """Record renames that are about to begin, by B2's clock at `begun_ms`; the records of unsent files in
        `replaces` go. `over` has the ids of the versions that the new names show, where any is known."""
        insert = "INSERT INTO moves (number, version, bucket, key, begun_ms, shown) VALUES (?, ?, ?, ?, ?, ?)"
        records, statements = [], _deletions(replaces)
        for version, path in moves:
            record = MoveRecord(self._next(), version, path, begun_ms, over.get(path))
            records.append(record)
            row = (record.number, version_to_json(version), path.bucket, path.key, begun_ms, record.over)
            statements.append((insert, row))
        await self.make(Change(statements, {}, replaces))
        return records

    async def end_moves(self, records: Iterable[MoveRecord], restores: Sequence[SealedFile] = ()) -> None:
        """Drop records of renames that are done, or that nobody is to go on with: then the records of the
        unsent files in `restores`, which were to be replaced, are back."""
        statements: list[Statement] = [("DELETE FROM moves WHERE number = ?", (r.number,)) for r in records]
        statements += [self._addition(back, "sealed") for back in restores]
        await self.make(Change(statements, stacking(restores), ()))

    async def moves(self) -> list[MoveRecord]:
        """The renames that were begun and not ended, oldest first."""
        columns = "number, version, bucket, key, begun_ms, coalesce(shown, '')"
        rows = await self.read(f"SELECT {columns} FROM moves ORDER BY number")
        found: list[MoveRecord] = []
        for n, v, b, k, ms, over in rows:
            try:
                version, path = version_from_json(str(v)), ObjectPath(str(b), str(k))
                found.append(MoveRecord(int(n), version, path, int(ms), str(over) or None))
            except UNREADABLE:
                log.exception("the record of a rename to %s can't be read; it stays", k)
        return found

    async def written_since(self, move: MoveRecord, path: ObjectPath) -> bool:
        """Whether there is an unsent file of this name that was recorded after the rename began."""
        rows = await self.read("SELECT sequence, record FROM files")
        later = (str(record) for sequence, record in rows if int(sequence) > move.number)
        return any(path_of_record(record) == path for record in later)

    # -- SQLite ----------------------------------------------------------------------------

    async def write(self, statements: Sequence[Statement]) -> None:
        """Carry statements out that have nothing to do with records of files, in one transaction, durable
        when this returns. Raises OSError, StoreFailure."""
        await self.make(Change(statements, {}, ()))

    async def make(self, change: Change) -> None:
        """Carry it out in one transaction, durable when this returns. Raises OSError, StoreFailure."""
        if not change.statements:
            return
        self._waiting.append(change)
        with trio.CancelScope(shield=True):
            async with self._writing:
                if not change.done:
                    await self._write_waiting()
        if change.error is not None:
            raise change.error

    async def _write_waiting(self) -> None:
        """One transaction for all changes that wait; they succeed or fail together."""
        batch, self._waiting = [Change(_deletions(self.owed), {}, self.owed), *self._waiting], []
        stacked = self._stacked.copy()
        error: Exception | None = None
        try:
            await self._transaction([each for change in batch for each in change.made_on(stacked)])
        except Exception as failure:  # every change of the batch must learn of it
            error = failure
        else:
            self._stacked = stacked
        for change in batch:
            change.done, change.error = True, error

    async def _transaction(self, statements: Sequence[Statement]) -> None:
        connection = self._opened()
        await self._on_reserve(lambda: _transaction(connection, statements))
        if not self._reserve.is_held:
            await self._lane.run_uncancelled(self._reserve.hold)

    async def _on_reserve(self, work: Callable[[], T]) -> T:
        """`work` in a thread; again, when the disk is full, as long as something gives way, and at last
        with the reserve's space."""

        def told() -> T:
            try:
                return work()
            except StoreFailure as failure:
                if getattr(failure.__cause__, "sqlite_errorcode", None) in _UNWRITTEN:
                    self._reserve.check_room()
                raise

        while True:
            try:
                return await self._lane.run_uncancelled(told)
            except OSError as error:
                if await self._staging.make_room(error, SIZE):
                    continue
                if not is_full(error) or not await self._lane.run_uncancelled(self._reserve.give_up):
                    raise
            log.info("the disk is full; the journal of unsent files lives on its reserve")

    async def read(self, query: str) -> list[tuple[str | int, ...]]:
        """The rows of a query. Raises OSError, StoreFailure."""
        async with self._writing:
            return await self._lane.run_uncancelled(_rows, self._opened(), query)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreFailure("the journal is closed")
        return self._connection


def _deletions(gone: Sequence[SealedFile]) -> list[Statement]:
    # of what did not land, B2 has parts that are still to be cancelled
    large = [sealed for sealed in gone if sealed.fate.sent and sealed.fate.version]
    drop, drop_large = (f"DELETE FROM {table} WHERE staging_id = ?" for table in ("files", "large_files"))
    return [
        *((drop, (sealed.staging_id,)) for sealed in gone),
        *((drop_large, (sealed.staging_id,)) for sealed in large),
    ]


def _open(path: str) -> tuple[sqlite3.Connection, int]:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        if not connection.execute("SELECT 1 FROM pragma_table_info('moves') WHERE name = 'shown'").fetchone():
            connection.execute("ALTER TABLE moves ADD COLUMN shown TEXT")  # of an earlier release
        (latest,) = connection.execute(
            "SELECT max(coalesce((SELECT max(sequence) FROM files), 0),"
            " coalesce((SELECT max(number) FROM moves), 0))"
        ).fetchone()
    except sqlite3.Error as error:
        raise _translated(error, f" {path}") from error
    sync_directory(str(Path(path).parent))
    return connection, int(latest)


def _transaction(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                connection.execute(sql, values)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise _translated(error) from error


def _rows(connection: sqlite3.Connection, query: str) -> list[tuple[str | int, ...]]:
    try:
        return connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise _translated(error) from error


def _translated(error: sqlite3.Error, name: str = "") -> Exception:
    if getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}:
        # SQLite says so without the errno, and a program has to see it
        return OSError(NO_SPACE, "no space left for the journal")
    return StoreFailure(f"the journal of unsent files{name} can't be used: {error}")
