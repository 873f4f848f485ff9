"""What an upload does with files of the staging directory besides reading them, in the disk lane."""

from __future__ import annotations

import os
from pathlib import Path


def write_at(path: str, offset: int, data: bytes) -> None:
    """Put bytes into a file, which is made when there is none. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < len(data):
            done += os.pwrite(fd, memoryview(data)[done:], offset + done)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Delete a file; fine when it is gone."""
    Path(path).unlink(missing_ok=True)
