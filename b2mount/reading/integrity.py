"""Whether the bytes of a version are the bytes that were uploaded.

What B2 offers for that is one SHA-1 over a whole version; a range comes without any. On the real
service TLS protects a range on its way; over plain HTTP, and against damage before or behind TLS,
this is what is caught, and when:

* Up to `whole` bytes (SMALL, where TLS protects the line; UNPROTECTED, where nothing does), the
  version is fetched whole and checked before a reader gets any of it.
* Above that, bytes are handed out as they arrive and hashed behind the readers' backs, in order.
  Once all blocks are here, whatever nobody has had yet is held back until the SHA-1 is known; a
  reader in order therefore can't reach the end of a damaged version unnoticed.
* Where neither hashing nor the disk keeps up with readers, they go at the pace of the hashing.
* If the SHA-1 is wrong, the version is fetched a second time. Blocks that came differently are
  fetched until two copies agree. If the whole is right now, the right blocks take the wrong ones'
  place. If none of those had been handed out, nobody ever notices; else all who are reading get
  CorruptData from then on, since what one of them was given, the kernel may have shown to another.
  If it is still wrong, all blocks are dropped and everyone gets CorruptData. In both cases
  `mended` is called, so that what the kernel holds can be dropped.
* Once a version was found right, the checksum of each of its blocks is kept. A block that was
  trimmed and comes again is compared before anybody gets it. Of what this machine has uploaded,
  the uploader leaves these checksums from the start: it knows the bytes.

What can't be caught: a range of a big version of somebody else's, over an unprotected line, whose
other bytes nobody ever reads; and such a version of which B2 knows no SHA-1.

Must not know: flights, queues, who reads.
"""

from __future__ import annotations

import itertools
import logging
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final
from weakref import WeakSet, WeakValueDictionary

import attrs
import trio

from b2mount.errors import B2MountError, CorruptData
from b2mount.model import BlockId, ObjectVersion
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.block_file import BLOCK_SIZE, Data, checksum_of
from b2mount.reading.flight import count_of
from b2mount.reading.kept_digests import UNKNOWN
from b2mount.reading.marks import Marks
from b2mount.reading.version_hash import VersionHash

log = logging.getLogger(__name__)

SMALL: Final = 4 << 20
UNPROTECTED: Final = 10 << 20
"""A document is worth waiting a tenth of a second for. Whatever is longer is changed in parts, and B2
says the SHA-1 of what it copies (upload_plan, large_files)."""
HOLD: Final = 64 << 20
"""Readers are held back only when no more than this is left to hash: 40 ms."""
BEHIND: Final = 16 << 20
"""How far hashing may be behind when the disk is too: with all readahead (64 MiB) and what of that comes
out of order, less than stays in memory."""
_BATCH: Final = 128
"""Blocks hashed in one go of a thread: 16 MiB, 9 ms."""
_DISK_BATCH: Final = 8
_YIELD: Final = 0.05
"""Seconds that who has fallen behind leaves disk and processor to what is still coming, before each batch."""
_WAVE: Final = 6
_PIECE: Final = 32
_COPIES: Final = 6


@attrs.define(eq=False)
class Witness:
    """One who reads a version before its SHA-1 is known."""

    is_misled: bool = False
    """Some of it was wrong."""
    check: VersionCheck | None = None
    """Kept alive from the first read on."""


@attrs.define(eq=False)
class VersionCheck:
    """How far the check of one version has come. Lives as long as a reader of it."""

    version: ObjectVersion
    passed: Marks = attrs.field(factory=Marks)
    """Blocks that are in the cache, as far as we know, and have not been hashed yet."""
    digests: array[int] = attrs.field(factory=lambda: array("I"))
    """Of the blocks that have been hashed, in order; of all of them once verified."""
    expected: array[int] = attrs.field(factory=lambda: array("I"))
    """What was known of the blocks before: as many as there are, UNKNOWN some of them; or none."""
    given: Marks = attrs.field(factory=Marks)
    """Blocks that somebody has been given before the SHA-1 was known."""
    is_verified: bool = False
    has_failed: bool = False
    is_running: bool = False
    settled: trio.Event = attrs.field(factory=trio.Event)
    """Set when those who are held back should look again."""
    witnesses: WeakSet[Witness] = attrs.field(factory=WeakSet)
    hash: VersionHash = attrs.field(factory=VersionHash)

    @property
    def is_complete(self) -> bool:
        """Whether every block is here or has been."""
        return len(self.digests) + len(self.passed) == count_of(self.version)

    @property
    def is_holding(self) -> bool:
        """Whether blocks are held back until the SHA-1 is known."""
        left = count_of(self.version) - len(self.digests)
        return self.is_running and not self.is_verified and self.is_complete and left * BLOCK_SIZE <= HOLD

    def is_behind(self, index: int, most: int) -> bool:
        """Whether more than `most` bytes before a block are still to be hashed, with no gap among them: to
        who reads beyond a gap the check doesn't come, however long it waits."""
        far = index - len(self.digests)
        return self.is_running and far < len(self.passed) and far * BLOCK_SIZE > most

    def release(self) -> None:
        """Wake those who are held back."""
        self.settled.set()
        self.settled = trio.Event()


class Integrity:
    """The checks of all versions that are being read."""

    def __init__(
        self,
        cache: BlockCache,
        fetch: Callable[[ObjectVersion, range], Awaitable[list[Data]]],
        spawn: Callable[[Callable[[VersionCheck], Awaitable[None]], VersionCheck], None],
        mended: Callable[[ObjectVersion], None],
        whole: int = SMALL,
    ) -> None:
        self._cache = cache
        self._fetch = fetch
        self._spawn = spawn
        self._mended = mended
        self._whole = whole
        self._checks: WeakValueDictionary[str, VersionCheck] = WeakValueDictionary()
        self._running = 0

    def known(self, version: ObjectVersion) -> VersionCheck | None:
        """The check of a version that somebody reads."""
        return self._checks.get(version.version_id)

    def is_checked_whole(self, version: ObjectVersion) -> bool:
        """Whether the version is fetched in one flight and checked before anyone gets its bytes."""
        return version.sha1 is not None and version.size <= self._whole

    async def begin(self, version: ObjectVersion, witness: Witness) -> None:
        """Give a new reader the check of its version, before anything is fetched for it. It gets
        none when the version is checked whole. Raises CorruptData when the reader has had wrong
        bytes."""
        self._refuse(witness)
        if witness.check is None and version.size > SMALL and not self.is_checked_whole(version):
            witness.check = self.known(version) or await self._load(version)

    async def _load(self, version: ObjectVersion) -> VersionCheck:
        expected = await self._cache.digests(version.version_id)
        check = self._checks.get(version.version_id)
        if check is None:
            check = VersionCheck(version)
            if expected is not None and len(expected) == count_of(version):
                check.expected = expected
            if version.sha1 is None or (check.expected and UNKNOWN not in check.expected):
                check.is_verified = True  # or nobody could ever
            else:
                check.passed = Marks(self._cache.indexes(version.version_id))
            self._checks[version.version_id] = check
        return check

    def forget(self, version_id: str) -> None:
        """The version's blocks have been evicted. What was hashed stays known: what comes again is compared
        with it, for if it is right in the end, all that is here then counts as right."""
        check = self._checks.get(version_id)
        if check is not None:
            check.passed.clear()

    def accepts(self, version: ObjectVersion, index: int, data: Data) -> bool:
        """Whether a block that has just come may be kept, as far as anyone can tell."""
        known = self._expected(version, index)
        return known == UNKNOWN or known == checksum_of(data)

    def gives_parts(self, version: ObjectVersion, index: int) -> bool:
        """Whether bytes of a block may be given before it is whole: not where the whole is compared
        with anything before anyone gets it."""
        return not self.is_checked_whole(version) and self._expected(version, index) == UNKNOWN

    def _expected(self, version: ObjectVersion, index: int) -> int:
        """The checksum that a block must have."""
        check = self._checks.get(version.version_id)
        if check is None:
            return UNKNOWN
        known = check.expected[index] if check.expected else UNKNOWN
        return check.digests[index] if known == UNKNOWN and index < len(check.digests) else known

    def note(self, version: ObjectVersion, index: int) -> None:
        """A block is in the cache now."""
        check = self._checks.get(version.version_id)
        if check is not None and not check.is_verified:
            self._pass(check, index)

    def _pass(self, check: VersionCheck, index: int) -> None:
        if index >= len(check.digests):
            check.passed.add(index)
        if not check.is_running and (index == len(check.digests) or check.is_complete):
            check.is_running = True
            self._spawn(self._advance, check)

    async def admit(self, index: int, witness: Witness) -> bool:
        """Whether a reader may have the block it has got; waits while blocks are held back. False:
        it is to get the block again, which may have been replaced. Raises CorruptData."""
        check = witness.check
        if check is None:
            return True
        if not check.is_verified and not check.has_failed:
            self._pass(check, index)
            if self._is_at_risk(check, index):
                await check.settled.wait()  # one batch is more than the block that it is waited with
            while check.is_holding:
                await check.settled.wait()
            if check.is_verified:
                return False
        self.admit_part(index, witness)
        return True

    def _is_at_risk(self, check: VersionCheck, index: int) -> bool:
        """Whether a block may be gone before it is hashed if its readers go on as they do."""
        if not self._cache.is_strained or not check.is_behind(index, BEHIND // max(1, self._running)):
            return False
        return not self._cache.holds(check.version.version_id, range(index, index + 1))

    def admit_part(self, index: int, witness: Witness) -> None:
        """A reader is given bytes of a block; of one that is not whole here never the last ones, so
        what is held back at the end is held back from it too. Raises CorruptData."""
        self._refuse(witness)
        check = witness.check
        if check is not None and not check.is_verified:
            check.witnesses.add(witness)
            check.given.add(index)

    def _refuse(self, witness: Witness) -> None:
        check = witness.check
        if check is not None and (check.has_failed or witness.is_misled):
            raise CorruptData(f"the bytes of {check.version.path} do not match their SHA-1")

    async def _advance(self, check: VersionCheck) -> None:
        """Hash on from where the check stands, as far as the blocks reach."""
        self._running += 1
        try:
            while blocks := await self._next_blocks(check):
                first = len(check.digests)
                check.digests.extend(await self._cache.lane.run(check.hash.take, blocks))
                for index in range(first, len(check.digests)):
                    check.passed.discard(index)
                check.release()
            if len(check.digests) == count_of(check.version):
                await self._decide(check)
        finally:
            self._running -= 1
            check.is_running = False
            check.release()

    async def _next_blocks(self, check: VersionCheck) -> list[Data]:
        """What is here from where the check stands: much at once while it is in memory, so that who
        falls behind catches up before the rest has to come back from the disk."""
        blocks: list[Data] = []
        for block in self._next_ids(check, _BATCH):
            data = self._cache.at_hand(block)
            if data is None:
                break
            blocks.append(data)
        return blocks or await self._blocks_on_disk(check)

    async def _blocks_on_disk(self, check: VersionCheck) -> list[Data]:
        if not any(True for _ in self._next_ids(check, 1)):
            return []  # all that has come is hashed: who waits for the last block must not wait for us
        if self._cache.backlog_size and not check.is_complete:
            await trio.sleep(_YIELD)
        blocks: list[Data] = []
        for block in self._next_ids(check, _DISK_BATCH):
            data = await self._cache.peek(block) or self._cache.at_hand(block)  # it has come meanwhile
            if data is None:
                check.passed.discard(block.index)  # trimmed before its turn came: it has to come again
                break
            blocks.append(data)
        return blocks

    def _next_ids(self, check: VersionCheck, most: int) -> Iterator[BlockId]:
        """Blocks that have passed and are not hashed, in order, up to the first that has not."""
        first = len(check.digests)
        for index in itertools.takewhile(check.passed.__contains__, range(first, first + most)):
            yield BlockId(check.version.version_id, index)

    async def _decide(self, check: VersionCheck) -> None:
        if not check.hash.matches(check.version.sha1):
            log.warning("%s came with wrong bytes; it is fetched again and compared", check.version.path)
            if not await self._mend(check):
                return
        check.is_verified = True
        check.passed.clear()
        check.release()
        await self._cache.keep_digests(check.version.version_id, check.digests)

    async def _mend(self, check: VersionCheck) -> bool:
        try:
            wrong = await self._compare(check)
        except B2MountError as error:
            log.warning("%s stays unreadable for now: %s", check.version.path, error)
            check.has_failed = True
            self._checks.pop(check.version.version_id, None)
            self._cache.evict(check.version.version_id)
            self._mended(check.version)
            return False
        if any(index in check.given for index in wrong):
            for witness in check.witnesses:
                witness.is_misled = True
            self._mended(check.version)
        check.given.clear()
        return True

    async def _compare(self, check: VersionCheck) -> set[int]:
        """Fetch the version again; the blocks that had been wrong. Raises CorruptData if it still
        does not match its SHA-1."""
        version, again, wrong = check.version, VersionHash(), set[int]()
        for first in range(0, count_of(version), _WAVE * _PIECE):
            wave = range(first, min(count_of(version), first + _WAVE * _PIECE))
            blocks = await self.fetch_wave(version, wave)
            for number, data in enumerate(blocks):
                index = first + number
                if checksum_of(data) != check.digests[index]:
                    blocks[number] = await self._vote(check, index, data)
                    if checksum_of(blocks[number]) != check.digests[index]:
                        wrong.add(index)
                        self._replace(check, index, blocks[number])
            await self._cache.lane.run(again.add, blocks)
        if not again.matches(version.sha1):
            raise CorruptData("its bytes do not match their SHA-1, as often as they are fetched")
        return wrong

    async def fetch_wave(self, version: ObjectVersion, indexes: range) -> list[Data]:
        """Blocks as the store gives them now, all pieces at once."""
        pieces = [indexes[at : at + _PIECE] for at in range(0, len(indexes), _PIECE)]
        fetched: dict[int, list[Data]] = {}
        failures: list[B2MountError] = []

        async def fetch(piece: range) -> None:
            try:
                fetched[piece.start] = await self._fetch(version, piece)
            except B2MountError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for piece in pieces:
                nursery.start_soon(fetch, piece)
        if failures:
            raise failures[0]
        return [data for piece in pieces for data in fetched[piece.start]]

    async def _vote(self, check: VersionCheck, index: int, second: Data) -> Data:
        """The copy of a block that came twice."""
        votes = Counter([check.digests[index], checksum_of(second)])
        for _ in range(_COPIES):
            (data,) = await self._fetch(check.version, range(index, index + 1))
            digest = checksum_of(data)
            votes[digest] += 1
            if votes[digest] == 2:
                return data
        raise CorruptData("it comes differently each time it is fetched")

    def _replace(self, check: VersionCheck, index: int, data: Data) -> None:
        block = BlockId(check.version.version_id, index)
        check.digests[index] = checksum_of(data)
        self._cache.drop(block)
        self._cache.add(block, data)
