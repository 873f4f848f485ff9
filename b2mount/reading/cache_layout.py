"""Pure: which names files have in a cache directory, and what their checksums are bound to.

    ab/cdef.../0.blocks, 1.blocks ...   one file for each group of blocks, one directory a version
    ab/cdef.../digests                  the checksums of its blocks, as far as they are known to be right
    gone-...                            a directory that is only there to be removed

A version's directory is named by a hash of the version id, which is a stranger's text.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Final

from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.block_index import GROUP

DIGESTS: Final = "digests"
BLOCKS: Final = ".blocks"
DOOMED: Final = "gone-"
KEY_DIGITS: Final = 32


@functools.lru_cache(maxsize=4096)
def directory_key(version_id: str) -> str:
    """A safe name for a version: 32 hex digits."""
    data = version_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=KEY_DIGITS // 2).hexdigest()


def directory_of(root: str, key: str) -> str:
    """Where the files of a version are, by its key."""
    return f"{root}/{key[:2]}/{key[2:]}"


def file_of(root: str, key: str, number: int) -> str:
    """The file of a group of blocks of a version, by its key."""
    return f"{root}/{key[:2]}/{key[2:]}/{number}{BLOCKS}"


def group_identity(version_id: str, number: int) -> bytes:
    """What a group's checksums are bound to; the size of blocks too, since places say nothing
    without it, and a mount of another version may have left the file."""
    return f"{version_id}/{number}*{GROUP}*{BLOCK_SIZE}".encode("utf-8", "surrogatepass")
