"""The north border: our exceptions become an errno here, and nowhere else.

pyfuse3 ends the whole mount at any exception but FUSEError, so the boundary is total: what is not
in the table is a bug, is logged once with its traceback and becomes EIO. Cancellation passes.
"""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

import pyfuse3

from b2mount import errors

log = logging.getLogger(__name__)

Observe = Callable[[str, float, str], None]
"""Told of every operation: its name, its seconds, and the name of the errno, empty for success."""


class Observed:
    """Has operations that somebody may count."""

    observe: Observe | None = None


P = ParamSpec("P")
T = TypeVar("T")

ERRNO: Final[dict[type[errors.B2MountError], int]] = {
    errors.NotFound: errno.ENOENT,
    errors.Stale: errno.ESTALE,
    errors.Replaced: errno.ESTALE,
    errors.AlreadyExists: errno.EEXIST,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.NotEmpty: errno.ENOTEMPTY,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.BadName: errno.EINVAL,
    errors.IllegalCharacters: errno.EILSEQ,
    errors.InvalidArgument: errno.EINVAL,
    errors.BadHandle: errno.EBADF,
    errors.TooManyLinks: errno.EPERM,
    errors.NotSupported: errno.EOPNOTSUPP,
    errors.NoAttribute: errno.ENODATA,
    errors.FixedAttribute: errno.EPERM,
    errors.NoRoom: errno.ENOSPC,
    errors.TooLarge: errno.EFBIG,
    errors.ReadOnly: errno.EROFS,
    errors.AccessDenied: errno.EACCES,
    errors.KeyMissing: errno.EACCES,
    errors.NotPermitted: errno.EPERM,
    errors.OverQuota: errno.EDQUOT,
    errors.NotAuthorized: errno.EACCES,
    errors.Unavailable: errno.EIO,
    errors.CorruptData: errno.EIO,
    errors.Conflict: errno.EIO,
    errors.StoreFailure: errno.EIO,
}

WORTH_A_LINE: Final = (
    errors.AccessDenied,
    errors.NotPermitted,
    errors.OverQuota,
    errors.NotAuthorized,
    errors.Unavailable,
    errors.CorruptData,
    errors.Conflict,
    errors.StoreFailure,
)
"""Outcomes that a person should find in the log; the others are everyday answers."""

CARRIES_DATA: Final = ("write", "setxattr")
"""Operations whose arguments hold what somebody writes into a file."""


def errno_of(error: Exception) -> int:
    """The errno for `error`; EIO for anything that is not in the table.

    The local disk's OSError keeps its own errno (ENOSPC of the staging disk), as long as it is one
    that the kernel takes: 512 to 999 would leave the caller hanging for ever.
    """
    for kind in type(error).__mro__:
        if kind in ERRNO:
            return ERRNO[kind]
    if isinstance(error, OSError) and error.errno is not None and 0 < error.errno < 512:
        return error.errno
    return errno.EIO


def answers_kernel(
    handler: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """The boundary around every operation that the kernel waits for."""
    name = handler.__name__

    @functools.wraps(handler)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()
        try:
            result = await handler(*args, **kwargs)
        except pyfuse3.FUSEError as error:
            _observe(args, name, began, error.errno)
            raise
        except Exception as error:
            code = _judge(name, error)
            _observe(args, name, began, code)
            if log.isEnabledFor(logging.DEBUG):
                log.debug("%s%r -> %s", name, _short(name, args[1:]), errno.errorcode.get(code, code))
            raise pyfuse3.FUSEError(code) from None
        _observe(args, name, began, 0)
        if log.isEnabledFor(logging.DEBUG):
            milliseconds = 1000 * (time.monotonic() - began)
            log.debug("%s%r in %.1f ms", name, _short(name, args[1:]), milliseconds)
        return result

    return bounded


def _observe(args: tuple[object, ...], name: str, began: float, code: int) -> None:
    owner = args[0] if args else None
    if isinstance(owner, Observed) and owner.observe is not None:
        owner.observe(name, time.monotonic() - began, errno.errorcode.get(code, str(code)) if code else "")


def _judge(name: str, error: Exception) -> int:
    if isinstance(error, errors.KeyMissing):
        _say_once(str(error))
    elif isinstance(error, WORTH_A_LINE):
        log.warning("%s failed: %s", name, error)
    elif isinstance(error, OSError):
        log.warning("%s: the local disk answered: %s", name, error)
    elif not isinstance(error, errors.B2MountError):
        log.error("%s met a bug; the program gets EIO", name, exc_info=error)
    return errno_of(error)


@functools.lru_cache(10_000)
def _say_once(text: str) -> None:
    """For what names an object, and would come again with everything that a program tries on it."""
    log.warning("%s", text)


def _short(name: str, args: tuple[object, ...]) -> tuple[object, ...]:
    """What a person may read in a log: what is written into a file is nobody's business."""
    if name not in CARRIES_DATA:
        return args
    return tuple(f"<{len(arg)} bytes>" if isinstance(arg, bytes) else arg for arg in args)
