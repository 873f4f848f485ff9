"""Real mounts, in a place that other users can walk into: what keeps them out is b2mount's own doing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from b2sdk.v3 import B2Api

from b2mount.emulator.server import EmulatorServer
from tests.mounted.conftest import MountMaker, api, emulator

__all__ = ["api", "emulator", "make_mount", "public_place"]


@pytest.fixture(scope="module")
def public_place() -> Iterator[Path]:
    """A directory that everybody may enter, for the tests of a module."""
    directory = Path(tempfile.mkdtemp(prefix="b2mount-public-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def make_mount(
    emulator: EmulatorServer, api: B2Api, public_place: Path, request: pytest.FixtureRequest
) -> Iterator[MountMaker]:
    """Makes mounts of this test's own."""
    maker = MountMaker(emulator, api, public_place / request.node.name)
    yield maker
    emulator.faults.clear()
    maker.close()
