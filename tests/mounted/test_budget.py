"""What a mount costs is counted across remounts, and a budget makes it save, and fails nothing."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount

pytestmark = pytest.mark.kernel


def status(mount: Mount) -> dict[str, Any]:
    code, output = mount.b2mount("status", "--json", mount.path)
    assert code == 0, output
    found: dict[str, Any] = json.loads(output)
    return found


def test_a_budget_that_is_used_up(make_mount: MountMaker) -> None:
    """At 80 % the mount warns, lengthens times to live and stops prefetching; no operation fails."""
    mount = make_mount("--budget=$0.00001/month", "--ttl=200ms")  # two calls and a half
    mount.expect_log("of the budget of $0.00001/month are used")
    (mount.path / "directory").mkdir()
    for number in range(12):
        (mount.path / "directory" / f"file{number:02}").write_bytes(b"data" * number)
    mount.b2mount("refresh", mount.path)
    names = sorted(os.listdir(mount.path / "directory"))
    assert len(names) == 12
    time.sleep(0.5)
    counts = make_mount.server.counts
    listings = counts.calls["b2_list_file_names"]
    assert sorted(os.listdir(mount.path / "directory")) == names
    for number, name in enumerate(names):
        os.stat(mount.path / "directory" / name)
        assert (mount.path / "directory" / name).read_bytes() == b"data" * number
    os.rename(mount.path / "directory" / "file03", mount.path / "moved")
    os.unlink(mount.path / "directory" / "file04")
    assert counts.calls["b2_list_file_names"] == listings
    found = status(mount)
    assert found["budget"]["is_saving"]
    assert found["budget"]["spent"] == pytest.approx(found["today"]["cost"])
    assert "nothing is fetched ahead" in mount.b2mount("status", mount.path)[1]
    assert mount.log().count("of the budget of") == 1


def test_today_is_counted_across_mounts(make_mount: MountMaker) -> None:
    """`status` shows today and since the mount, and what is left of the free allowance."""
    left = 86_400 - time.time() % 86_400
    if left < 20:
        time.sleep(left)  # one day for the whole test
    mount = make_mount()
    (mount.path / "file").write_bytes(b"x" * 1000)
    before = status(mount)
    assert before["today"] == before["since_mount"]
    assert before["today"]["bytes_up"] == 1000
    assert before["free_calls_left"]["C"] == 2500 - before["today"]["by_class"]["C"]
    mount.remount()
    after = status(mount)
    for name in "ABC":
        assert after["today"]["by_class"][name] >= before["today"]["by_class"][name]
    assert after["today"]["by_class"]["C"] > after["since_mount"]["by_class"]["C"] > 0
    assert (after["today"]["bytes_up"], after["since_mount"]["bytes_up"]) == (1000, 0)
    assert after["budget"] is None
