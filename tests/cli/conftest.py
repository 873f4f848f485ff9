"""A mount table, a socket directory and an environment of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest

from b2mount.control import places
from b2mount.control.places import MountEntry


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
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> MountTable:
    made = MountTable()
    monkeypatch.setattr(places, "mount_table", lambda: made.entries)
    monkeypatch.setattr("b2mount.cli.status_command.mount_table", lambda: made.entries)
    return made
