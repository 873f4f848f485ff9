"""Our exceptions, one per outcome that a caller can act on. No errno and no b2sdk in here.

The south border (`store/b2_errors.py`) turns b2sdk's exceptions into these, the north border
(`fuse/errno_map.py`) turns these into an errno; between the two nothing else travels, but for
OSError of the local disk, which keeps its own errno.

A message is one line that says what happened and, where there is one, what to do. It never
carries a key, a token or a URL with one.
"""

from __future__ import annotations


class B2MountError(Exception):
    """The base of all of them."""


# -- names and files -----------------------------------------------------------------------


class NotFound(B2MountError):
    """No such file, directory, object, version or bucket."""


class AlreadyExists(B2MountError):
    """The name is taken."""


class Replaced(B2MountError):
    """Others have given the name to something else meanwhile, or to nothing."""


class NotADirectory(B2MountError):
    """A directory was needed."""


class IsADirectory(B2MountError):
    """A file was needed."""


class NotEmpty(B2MountError):
    """The directory or bucket still holds something."""


class NameTooLong(B2MountError):
    """Longer than B2 or a path allows."""


class BadName(B2MountError):
    """B2 refuses such a name (backslash, empty, a segment it reserves)."""


class IllegalCharacters(B2MountError):
    """The name has bytes that B2 can't store (control characters, not UTF-8)."""


class InvalidArgument(B2MountError):
    """A request that makes no sense, such as moving a directory into itself."""


class BadHandle(B2MountError):
    """The file handle is not open, or not for this."""


class TooManyLinks(B2MountError):
    """B2 has no hard links."""


class NotSupported(B2MountError):
    """Nothing that a bucket can do."""


class NoAttribute(B2MountError):
    """No extended attribute of that name."""


class FixedAttribute(B2MountError):
    """An attribute that says how things are: it can be read and not set."""


class NoRoom(B2MountError):
    """More than B2 keeps beside one object."""


class TooLarge(B2MountError):
    """Beyond B2's 10 TB, or beyond what one request may carry."""


# -- permission and limits -----------------------------------------------------------------


class ReadOnly(B2MountError):
    """The mount, or this part of it, can't be written to."""


class AccessDenied(B2MountError):
    """The key, or the file's mode, does not allow it."""


class KeyMissing(AccessDenied):
    """The object is encrypted with a key of its owner's (SSE-C), and this mount has not got it."""


class NotPermitted(B2MountError):
    """Nobody may do this now (retention, legal hold, a sticky directory)."""


class OverQuota(B2MountError):
    """A cap of the B2 account has been reached."""


class NotAuthorized(B2MountError):
    """B2 does not know the key, or has revoked it."""


class Stale(B2MountError):
    """What was found before is gone, for good; who looks the name up again finds what is there now."""


# -- trouble -------------------------------------------------------------------------------


class Unavailable(B2MountError):
    """B2 could not be reached or was too busy, for as long as we tried. Trying later may help."""


class CorruptData(B2MountError):
    """The bytes do not match their checksum."""


class Conflict(B2MountError):
    """Someone else changed it meanwhile."""


class StoreFailure(B2MountError):
    """B2 refused for a reason that we have no better word for."""


# -- the command line ----------------------------------------------------------------------


class UsageError(B2MountError):
    """Options that are unknown, contradictory or malformed."""


class MountPointUnusable(B2MountError):
    """The mount point is not there, not an empty directory, or already mounted."""


class FuseMissing(B2MountError):
    """This machine can't mount: no /dev/fuse, or no fusermount3 for an ordinary user."""


class UnsentData(B2MountError):
    """Something has not reached B2 yet; it stays staged for the next mount."""


def cause_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a person should hear of: an error of ours before anything that it brought down."""
    leaves: list[BaseException] = []
    left: list[BaseException] = [group]
    while left:
        error = left.pop(0)
        if isinstance(error, BaseExceptionGroup):
            left.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, B2MountError)), leaves[0])
