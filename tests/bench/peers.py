"""The programs that are compared: how each one mounts a bucket, and one mount of one of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs

from tests.bench.hub import Access
from tests.bench.processes import ProcessUse, abort, detach, device_of, use_of
from tests.bench.watchdog import Deadline, limit

LOG: Final = "log"
BESIDE_PYTHON = Path(sys.executable).parent
READY_WITHIN: Final = 30.0
UNMOUNT_WITHIN: Final = 60.0


@attrs.frozen
class MountPlan:
    """Where one mount takes its bucket from and where it puts what it needs."""

    access: Access
    bucket: str
    folder: Path
    """Holds the mount point, the cache, the log and the credentials."""

    @property
    def mountpoint(self) -> Path:
        """An empty directory of this mount's own."""
        return self.folder / "mnt"

    @property
    def cache(self) -> Path:
        """Empty for the first mount of a folder, kept for the next ones."""
        return self.folder / "cache"

    @property
    def credentials(self) -> Path:
        """A file with the key, as b2mount reads it."""
        return self.folder / "credentials.json"

    @property
    def log(self) -> Path:
        """What the peer said."""
        return self.folder / LOG


@attrs.frozen
class Peer:
    """A program and its options. The words of both may name `beside`, the folder of this
    interpreter's programs, and fields of the plan; a word has no blanks before that."""

    name: str
    command: str
    options: str = ""
    """Those that make the peer what its name says; shown in the report."""
    environment: Mapping[str, str] = MappingProxyType({})

    def words(self, plan: MountPlan) -> list[str]:
        """The command line of one mount."""
        words = f"{self.command} {self.options}".split()
        return [word.format(plan=plan, beside=BESIDE_PYTHON) for word in words]

    @property
    def described(self) -> str:
        """What a person would type."""
        return f"{self.command} {self.options}".replace("{beside}/", "").replace("{plan.", "{").strip()

    def variables(self, plan: MountPlan) -> dict[str, str]:
        """The environment of one mount: nothing of the caller's that could change its behaviour."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        given = {name: value.format(plan=plan) for name, value in self.environment.items()}
        return {**kept, "HOME": str(plan.folder), **given}


B2MOUNT: Final = Peer(
    "b2mount",
    "{beside}/b2mount mount {plan.bucket} {plan.mountpoint} --foreground"
    " --credentials {plan.credentials} --cache-dir {plan.cache}",
    environment={"B2_ENVIRONMENT": "{plan.access.url}"},
)
RCLONE: Final = Peer(
    "rclone",
    "{beside}/rclone mount :b2:{plan.bucket} {plan.mountpoint} --config /dev/null"
    " --cache-dir {plan.cache} --vfs-cache-mode full",
    environment={
        "RCLONE_B2_ACCOUNT": "{plan.access.key_id}",
        "RCLONE_B2_KEY": "{plan.access.key}",
        "RCLONE_B2_ENDPOINT": "{plan.access.url}",
    },
)
TUNED: Final = attrs.evolve(
    RCLONE,
    name="rclone tuned",
    # rclone's manual: "VFS Chunked Reading" names the first two values, "VFS File Caching" reads far
    # ahead on disk and little in memory, "VFS Performance" has --transfers, the B2 page the rest.
    options="--vfs-read-chunk-streams 16 --vfs-read-chunk-size 4M --vfs-read-ahead 256M"
    " --buffer-size 4M --max-read-ahead 1M --transfers 32 --checkers 32"
    " --b2-upload-concurrency 16 --b2-chunk-size 8M --b2-upload-cutoff 16M"
    " --vfs-write-back 0s",
)
WRITING_BACK: Final = attrs.evolve(B2MOUNT, name="b2mount write-back", options="--write-back")
PEERS: Final = {peer.name.replace(" ", "-"): peer for peer in (B2MOUNT, RCLONE, TUNED, WRITING_BACK)}
USUAL: Final = ("b2mount", "rclone", "rclone-tuned")
"""The fourth is rclone's way of closing a file: done when it is noted, sent a little later."""


class MountFailed(Exception):
    """A peer did not come up, or did not go down in time."""


@attrs.define(eq=False)
class Mounted:
    """One mount in use."""

    path: Path
    process: subprocess.Popen[bytes]

    def use(self) -> ProcessUse:
        """What its processes have used since they began."""
        return use_of(self.process.pid)

    def unmount(self) -> None:
        """End it in the ordinary way and wait until its process is gone. Raises MountFailed."""
        with limit(UNMOUNT_WITHIN, self.destroy):
            done = subprocess.run(["umount", self.path], capture_output=True, text=True, check=False)
            if done.returncode:
                raise MountFailed(f"umount: {done.stderr.strip()}")
            self.process.wait()

    def destroy(self) -> None:
        """Leave nothing: programs that wait for it are released first. Fine when it has ended."""
        with contextlib.suppress(OSError):
            abort(self.path)
        self.process.kill()
        self.process.wait(timeout=20)
        detach(self.path)


@contextlib.contextmanager
def mounted(peer: Peer, plan: MountPlan) -> Iterator[Mounted]:
    """A mount that is ready; whatever is left of it afterwards is destroyed."""
    for folder in (plan.mountpoint, plan.cache):
        folder.mkdir(parents=True, exist_ok=True)
    _write_credentials(plan)
    with plan.log.open("wb") as log:
        process = subprocess.Popen(
            peer.words(plan), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=peer.variables(plan), cwd=plan.folder,
        )  # fmt: skip
    mount = Mounted(plan.mountpoint, process)
    try:
        with limit(READY_WITHIN, mount.destroy) as deadline:
            _wait_until_ready(mount, deadline)
        yield mount
    finally:
        mount.destroy()


def _wait_until_ready(mount: Mounted, deadline: Deadline) -> None:
    """In the table of mounts and answering: between the two it lets everybody wait."""
    while device_of(mount.path) is None:
        if mount.process.poll() is not None:
            raise MountFailed(f"it ended with exit code {mount.process.returncode}")
        deadline.pause(0.01)
    mount.path.stat()


def last_words(log: Path) -> str:
    """The last line of a peer's log; empty when it has said nothing."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _write_credentials(plan: MountPlan) -> None:
    text = f'{{"key_id": "{plan.access.key_id}", "application_key": "{plan.access.key}"}}\n'
    plan.credentials.touch(mode=0o600)
    plan.credentials.write_text(text)
