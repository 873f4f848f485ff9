"""b2mount cp: copy files and trees of a mount inside B2."""

from __future__ import annotations

from argparse import Namespace

from b2mount.cli import wording
from b2mount.cli.progress import TransferLine
from b2mount.cli.warm_command import failure
from b2mount.control.client import find_path
from b2mount.errors import B2MountError, NotFound, UsageError
from b2mount.filesystem.status import WarmStatus


def execute(arguments: Namespace) -> int:
    """Copy one source after the other, showing progress. Interrupted, the mount stops copying too. Raises,
    naming files, when any could not be copied."""
    *sources, target = arguments.paths
    if not sources:
        raise UsageError("cp needs SOURCE and DEST")
    client, to = find_path(target)
    places = [find_path(source) for source in sources]
    if any(each.path != client.path for each, _ in places):
        raise UsageError("SOURCE and DEST have to be in one mount: use cp(1) from one mount to another")
    into = len(sources) > 1 or target.endswith("/")
    ended: list[WarmStatus] = []
    with TransferLine("copying", "copied") as line:
        for _, source in places:
            try:
                for status in client.copy(source, to, recursive=arguments.recursive, into=into):
                    left = max(0, status.files - status.files_done - status.failures)  # directories fail too
                    line.show(left, status.size_done, status.size)
            except NotFound as error:  # its own exit code is for a bucket that is missing
                raise B2MountError(str(error)) from error
            ended.append(status)
    done = sum(status.files_done for status in ended)
    print(f"{wording.files(done)}, {wording.size(sum(status.size_done for status in ended))}, copied in B2")
    if count := sum(status.failures for status in ended):
        raise failure(count, [one for status in ended for one in status.failed], "copied")
    return 0
