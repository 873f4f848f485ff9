"""A mount table, a socket directory and an environment of the test's own."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio

from b2mount.cli import flush_command, umount_command
from b2mount.control import places
from b2mount.control.client import ControlClient
from b2mount.control.places import MountEntry
from b2mount.control.server import ControlServer
from b2mount.errors import MountPointUnusable
from tests.control.fake_mount import FakeMount


@attrs.define
class MountTable:
    """Stands in for /proc/self/mountinfo."""

    entries: list[MountEntry] = attrs.field(factory=list)

    def add(self, mountpoint: object, kind: str = "fuse.b2mount", source: str = "b2://bucket") -> None:
        self.entries.append(MountEntry(str(mountpoint), kind, source))

    def remove(self, mountpoint: object) -> None:
        self.entries = [entry for entry in self.entries if entry.mountpoint != str(mountpoint)]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("B2_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(places, "SYSTEM_RUNTIME_DIR", tmp_path / "run" / "b2mount")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> MountTable:
    made = MountTable()
    monkeypatch.setattr(places, "mount_table", lambda: made.entries)
    monkeypatch.setattr("b2mount.cli.status_command.mount_table", lambda: made.entries)
    return made


@attrs.define
class Running:
    """A fake mount behind a real control server in another thread, with a process that ends when it
    is unmounted."""

    mount: FakeMount
    table: MountTable
    process: subprocess.Popen[bytes]
    token: trio.lowlevel.TrioToken
    unmounted: list[str] = attrs.field(factory=list)
    busy: bool = False

    @property
    def mountpoint(self) -> str:
        return self.mount.mountpoint

    def finish_uploads(self) -> None:
        self.token.run_sync_soon(self.mount.sent.set)

    def unmount(self, mountpoint: str, *, lazily: bool = False) -> None:
        if self.busy:
            raise MountPointUnusable(f"{mountpoint} is in use by vim (7)")
        self.unmounted.append(mountpoint)
        self.table.remove(mountpoint)
        self.process.kill()


@pytest.fixture
def running(tmp_path: Path, table: MountTable, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    (tmp_path / "m").mkdir()
    started: queue.Queue[tuple[FakeMount, trio.lowlevel.TrioToken, trio.CancelScope]] = queue.Queue()

    async def serve() -> None:
        mount = FakeMount(mountpoint=str(tmp_path / "m"))
        async with trio.open_nursery() as nursery:
            await nursery.start(ControlServer(mount, mount.mountpoint, mount.request_unmount).run)
            started.put((mount, trio.lowlevel.current_trio_token(), nursery.cancel_scope))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    mount, token, scope = started.get(timeout=30)
    table.add(mount.mountpoint)
    with subprocess.Popen(["sleep", "600"]) as process:
        made = Running(mount, table, process, token)
        monkeypatch.setattr(ControlClient, "process", lambda self: os.pidfd_open(process.pid))
        monkeypatch.setattr(umount_command, "unmount", made.unmount)
        monkeypatch.setattr(umount_command, "is_dead", lambda path: False)
        monkeypatch.setattr(flush_command, "GLANCE", 0.01)
        monkeypatch.setattr(umount_command, "GLANCE", 0.01)
        yield made
        token.run_sync_soon(scope.cancel)
        thread.join()
        process.kill()
