"""Sockets in a directory of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from b2mount.control import places


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run"
    monkeypatch.setattr(places, "SYSTEM_RUNTIME_DIR", directory / "b2mount")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory / "b2mount"
