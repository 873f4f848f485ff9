"""SameBytes: whether an object that says the same SHA-1 has the same bytes as a file that is to be sent.

It has, when the checksums of all blocks are the same, too, as far as this machine knows them: of what went
through it. Of others it is believed when B2 itself says the SHA-1 and the first block is the same: all files
that were ever made to have one SHA-1 begin differently. A SHA-1 in the object info is what somebody says.

Must not know: paths, what is done then.
"""

from __future__ import annotations

import logging

import attrs
from isal import isal_zlib

from b2mount.errors import B2MountError, Unavailable
from b2mount.model import ByteRange, ObjectVersion
from b2mount.writing.fingerprint import UNKNOWN, Checksums, Fingerprint
from b2mount.writing.object_info import LARGE_FILE_SHA1
from b2mount.writing.sealed_file import ReadBase

log = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class SameBytes:
    """See the module."""

    _checksums: Checksums
    _read: ReadBase

    async def are_in(self, twin: ObjectVersion, fingerprint: Fingerprint) -> bool:
        """At most one request, for a block. Raises Unavailable."""
        sums = await self._checksums.digests(twin.version_id)
        if sums is not None and UNKNOWN not in sums:
            return sums == fingerprint.sums
        return LARGE_FILE_SHA1 not in twin.info and await self._begin_alike(twin, fingerprint)

    async def _begin_alike(self, twin: ObjectVersion, fingerprint: Fingerprint) -> bool:
        begin = ByteRange(0, min(twin.size, self._checksums.block_size))
        try:
            return isal_zlib.crc32(await self._read(twin, begin)) == fingerprint.sums[0]
        except Unavailable:
            raise
        except B2MountError as error:
            log.debug("%s can't be compared: %s", twin.path, error)
            return False
