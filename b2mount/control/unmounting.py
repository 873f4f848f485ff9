"""Taking a mount point away. Blocking: to be called in a thread, never on the loop, which may be what
the kernel waits for."""

from __future__ import annotations

import logging
import os
import subprocess

from b2mount.control.places import mount_at

log = logging.getLogger(__name__)


def detach(place: str, device: int | None) -> bool:
    """Take the mount of this device away from the mount point at once; what programs have open there
    goes on being served. What others have mounted over it stays. False when it can't be done."""
    try:
        entry = mount_at(place)
        if entry is not None and entry.device == device:
            _unmount(place)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("could not unmount %s: %s", place, error)
        return False
    return True


def clear_dead(place: str) -> None:
    """Take away the dead mount that `umount -f` leaves when programs are inside."""
    entry = mount_at(place)
    if entry is None or not entry.is_ours:
        return
    try:
        os.stat(place)
    except PermissionError:
        pass  # somebody else's, and alive
    except OSError:
        detach(place, entry.device)


def _unmount(place: str) -> None:
    command = ["umount", "--lazy"] if os.getuid() == 0 else ["fusermount3", "-u", "-z"]
    subprocess.run(
        [*command, "--", place],
        check=True,
        capture_output=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
        env={"LC_ALL": "C"},  # the key may be in ours
    )
