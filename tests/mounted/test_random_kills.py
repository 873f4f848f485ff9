"""The mount is killed at random moments while a crowd of programs writes; nothing is lost."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.mounted.conftest import MountMaker
from tests.torture.crowd import Crowd, moment, seed_bucket

pytestmark = pytest.mark.kernel

KILLS = 8


@pytest.mark.parametrize("options", [(), ("--write-back=0.3",)], ids=["close waits", "write-back"])
def test_kills_at_random_moments(make_mount: MountMaker, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Nothing acknowledged is lost: not by `kill -9` ...; the next mount with the same cache directory
    sends it; and what it knows of names is not what they were before."""
    seed = 7 + len(options)
    dice = random.Random(seed)
    bucket = make_mount.bucket()
    seed_bucket(bucket)
    mount = make_mount("--ttl=1d", *options, bucket=bucket)
    mount.expect_log("was changed by others")  # by the mount before, which did not live to take note of it
    crowd = Crowd.gather(mount, tmp_path / "ledger", seed)
    try:
        for _ in range(KILLS):
            time.sleep(moment(dice))
            mount.kill()
            mount.start()
        time.sleep(0.5)
        assert crowd.stop() > 30
    finally:
        crowd.destroy()
    mount.umount()
    crowd.check(bucket)
