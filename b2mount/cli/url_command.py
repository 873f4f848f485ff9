"""b2mount url: where a file can be downloaded from."""

from __future__ import annotations

from argparse import Namespace

from b2mount.control.client import find_path
from b2mount.errors import B2MountError, IsADirectory, NotFound, UsageError

LONGEST = 7 * 86_400
"""Seconds that B2 lets a download authorization live."""


def execute(arguments: Namespace) -> int:
    """Print the URL; with --expires one that works without a key until then."""
    expires = None if arguments.expires is None else int(arguments.expires)
    if expires is not None and not 1 <= expires <= LONGEST:
        raise UsageError("--expires must lie between 1 second and 7 days, as B2 demands")
    client, path = find_path(arguments.path)
    try:
        print(client.url(path, expires))
    except NotFound as error:
        raise B2MountError(f"{arguments.path}: no such file") from error
    except IsADirectory as error:
        raise B2MountError(f"{arguments.path} is a directory: only files have a URL") from error
    return 0
