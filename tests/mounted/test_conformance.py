"""The mount and a local disk answer alike, whatever is asked of them: errors, owners, modes, times."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import attrs
import pytest

from tests.mounted.conformance import run
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import REPOSITORY, Directory

pytestmark = pytest.mark.kernel

Transcripts = dict[str, list[str]]


@attrs.frozen
class Played:
    """What came of all cases."""

    here: Transcripts
    """On the local disk."""
    there: Transcripts
    """On the mount."""


def play(place: Directory, root: Path, output: Path) -> Transcripts:
    command = [sys.executable, "-m", "tests.mounted.conformance.run", str(root), str(output)]
    place.programs.run(*command, timeout=120, cwd=REPOSITORY)
    found: Transcripts = json.loads(output.read_text())
    return found


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    root = tmp_path_factory.mktemp("conformance")
    maker = MountMaker(request.getfixturevalue("emulator"), request.getfixturevalue("api"), root)
    try:
        mount = maker("--allow-other", limit=200)
        (root / "local").mkdir()
        here = play(mount, root / "local", root / "local.json")
        there = play(mount, mount.path, root / "mount.json")
        mount.check()
        yield Played(here, there)
    finally:
        maker.close()


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", run.names())
def test_case(played: Played, name: str) -> None:
    here, there = played.here[name], played.there[name]
    assert here
    assert not here[0].startswith("died"), here[0]
    for expected, found in zip_longest(here, there):
        assert found == expected
