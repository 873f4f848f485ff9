"""Shell blocks of README, run as they are written: by root with a login and a bucket of that name, in a place
where /mnt and /usr/local/share are a test's, and which is gone afterwards with all that runs in it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from b2sdk.v3 import B2Api

from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import RemoteBucket
from tests.mounted.harness import REPOSITORY
from tests.mounted.processes import Programs
from tests.readme.blocks import BEFORE, Block, blocks, to_run

SEED = ("report.pdf", "photos/one.jpg", "photos/2026/two.jpg", "table/part-1.parquet")
PLACE = """
set -eu
mkdir -p /run/b2mount
for each in /mnt /usr/local/share /run/b2mount; do mount -t tmpfs tmpfs "$each"; done
"""


@pytest.fixture(scope="module")
def bucket(api: B2Api, emulator: EmulatorServer) -> RemoteBucket:
    """The reader's."""
    made = RemoteBucket(emulator, api.create_bucket("my-bucket", "allPrivate"))
    for name in SEED:
        made.put(name, name.encode())
    return made


@pytest.mark.kernel
@pytest.mark.parametrize("block", to_run(), ids=lambda block: block.name)
def test_a_block_does_what_it_says(block: Block, bucket: RemoteBucket, tmp_path: Path) -> None:
    server = bucket.server
    programs = Programs(
        {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(tmp_path),
            "B2_APPLICATION_KEY_ID": server.key_id,
            "B2_APPLICATION_KEY": server.application_key,
            "B2_ENVIRONMENT": server.url,
            "RESTIC_PASSWORD": "of the backup",
            "LANG": "C.UTF-8",
        },
        lambda: None,  # who hangs is killed with the namespace, and the mount with it
    )
    script = "\n".join(
        [PLACE, f"cd {shlex.quote(str(tmp_path))}", BEFORE.get(block.section, ""), block.script]
    )
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script]
    programs.run(*command, timeout=100)


def test_there_are_blocks_and_most_of_them_run() -> None:
    shell = [block for block in blocks() if block.language in ("sh", "console")]
    assert len(to_run()) >= 8
    assert len(to_run()) >= len(shell) / 2


def test_every_fence_has_a_language() -> None:
    """Else nobody knows whether it is to be run."""
    text = (REPOSITORY / "README.md").read_text()
    fences = [line for line in text.splitlines() if line.startswith("```")]
    assert len(fences) == 2 * len(blocks())
    assert all(fence == "```" for fence in fences[1::2])
