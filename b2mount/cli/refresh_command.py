"""b2mount refresh: what is known of names is forgotten, so that whoever looks next asks B2."""

from __future__ import annotations

from argparse import Namespace

from b2mount.control.client import find_path, reachable_mounts
from b2mount.errors import B2MountError


def execute(arguments: Namespace) -> int:
    """Every mount of this user, or what is at and below PATH, whether it is there or not."""
    if arguments.path is not None:
        client, path = find_path(arguments.path)
        client.refresh(path or None)
        return 0
    failures = []
    for client in reachable_mounts():
        try:
            client.refresh(None)
        except B2MountError as error:  # of one mount: the others are refreshed all the same
            failures.append(error)
    if failures:
        raise failures[0]
    return 0
