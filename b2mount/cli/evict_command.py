"""b2mount evict: drop files and trees from the cache of the mount that holds them."""

from __future__ import annotations

from argparse import Namespace

from b2mount.cli import wording
from b2mount.control.client import find_path
from b2mount.errors import B2MountError, NotFound


def execute(arguments: Namespace) -> int:
    """Drop one path after the other, and say how much that freed. What is unsent stays."""
    places = [(path, *find_path(path)) for path in arguments.paths]
    files = size = 0
    for given, client, path in places:
        try:
            status = client.evict(path)
        except NotFound as error:
            raise B2MountError(f"{given}: no such file or directory") from error
        files, size = files + status.files, size + status.size
    print(f"{wording.files(files)} dropped from the cache, {wording.size(size)} freed")
    return 0
