"""What the exit code of each outcome is; README has the same table."""

from __future__ import annotations

from typing import Final

from b2mount.errors import (
    AccessDenied,
    B2MountError,
    FuseMissing,
    MountPointUnusable,
    NotAuthorized,
    NotFound,
    NotPermitted,
    Unavailable,
    UnsentData,
    UsageError,
)

DONE: Final = 0
OTHER: Final = 1

EXIT_CODES: Final[tuple[tuple[type[B2MountError], int, str], ...]] = (
    (UsageError, 2, "the command or its options make no sense"),
    (NotAuthorized, 3, "B2 does not accept the key, or there is none"),
    (AccessDenied, 3, "the key may not do this"),
    (NotPermitted, 3, "the key may not do this"),
    (NotFound, 4, "no such bucket"),
    (MountPointUnusable, 5, "the mount point can't be used, or nothing of b2mount is there"),
    (FuseMissing, 6, "this machine lacks FUSE"),
    (Unavailable, 7, "B2 can't be reached"),
    (UnsentData, 8, "something has not reached B2; it is kept and sent later"),
)


def exit_code(error: B2MountError) -> int:
    """The exit code that tells of this error."""
    return next((code for kind, code, _ in EXIT_CODES if isinstance(error, kind)), OTHER)


def exit_code_rows() -> list[tuple[int, str]]:
    """Each code and what it means, in order."""
    rows = [(DONE, "done"), (OTHER, "anything else that went wrong")]
    rows += {code: (code, meaning) for _, code, meaning in reversed(EXIT_CODES)}.values()
    return sorted(rows)


def exit_codes_table() -> str:
    """The codes as README shows them, a Markdown table."""
    lines = [f"| {code} | {meaning} |" for code, meaning in exit_code_rows()]
    return "\n".join(["| code | means |", "| --- | --- |", *lines])
