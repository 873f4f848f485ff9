"""The machine that a mount is on: a small disk for its cache, and clocks that can be set."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

import attrs

from tests.mounted.harness import Mount, Place

DISK: Final = 1 << 30
CLOCKS: Final = Path(__file__).with_name("shifted_clock")


@attrs.frozen
class PlaceOnDisk(Place):
    """The cache is on a file system of its own; the log is not."""

    disk: Path

    def cache(self, generation: int) -> Path:
        return self.disk / f"cache-{generation}"


@attrs.define(eq=False)
class Machine:
    """Of one mount that is not started yet; `close` when it is gone for good."""

    mount: Mount
    wall: float = 0.0
    """Seconds that its wall clock is ahead."""
    asleep: float = 0.0
    """Seconds that it has slept."""

    def __attrs_post_init__(self) -> None:
        root = self.mount.place.root
        self.disk.mkdir()
        options = f"size={DISK},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "disk", self.disk], check=True, timeout=10)
        self.mount.place = PlaceOnDisk(root, self.disk)
        environment = self.mount.programs.environment
        environment["PYTHONPATH"] = f"{CLOCKS}:{environment['PYTHONPATH']}"
        environment["B2MOUNT_TESTS_CLOCK"] = str(self._clocks)
        self._set_clocks()

    def close(self) -> None:
        """Give the disk back."""
        subprocess.run(["umount", "--lazy", self.disk], check=True, timeout=10)

    @property
    def disk(self) -> Path:
        return self.mount.place.root / "disk"

    @property
    def _clocks(self) -> Path:
        return self.mount.place.root / "clocks"

    @property
    def _filler(self) -> Path:
        return self.disk / "of somebody else"

    def fill(self, left: int) -> None:
        """Somebody takes all of the disk but `left` bytes; what is freed later can be taken again."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            status = os.fstatvfs(descriptor)
            more = status.f_bavail * status.f_frsize - left
            if more > 0:
                os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, more)
        except OSError:
            return  # the mount was faster; there is no room either way
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """And gives it back."""
        self._filler.unlink(missing_ok=True)

    def forget_old_caches(self) -> None:
        """Those of lives before the one that the mount has now."""
        for cache in self.disk.glob("cache-*"):
            if cache != self.mount.cache:
                shutil.rmtree(cache)

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back."""
        self.wall += seconds
        self._set_clocks()

    def sleep(self, seconds: float) -> None:
        """It slept so long, as its clocks tell."""
        self.wall += seconds
        self.asleep += seconds
        self._set_clocks()

    def _set_clocks(self) -> None:
        with self._clocks.open("r+b" if self._clocks.exists() else "wb") as file:
            file.write(struct.pack("dd", self.wall, self.asleep))
