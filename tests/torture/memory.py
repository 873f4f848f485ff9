"""`python -m tests.torture.memory`: the most memory that a mount has had, in two situations that want much.

A file of some gigabytes is written with cp; and many small files wait in the write-back queue while B2 takes
nothing. Exit code 1 when the mount's VmHWM went past the limit, or when a byte is missing.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from b2mount.emulator.faults import Fault
from b2mount.emulator.server import EmulatorServer
from tests.bench.processes import use_of
from tests.mounted.bucket import RemoteBucket, open_account
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import show_connections

LIMIT: Final = 300 * 10**6
WITHIN: Final = 1500.0
WRITERS: Final = 4
NOTHING_IN: Final = [
    Fault(endpoint=name) for name in ("b2_upload_*", "b2_get_upload_*", "b2_start_large_file")
]


def peak(mount: Mount) -> int:
    """Bytes."""
    assert mount.process is not None
    return use_of(mount.process.pid).peak_memory


def a_large_file(maker: MountMaker, root: Path, gigabytes: float) -> int:
    """cp of a file of zeros, holes written out; in B2 when this returns."""
    source, size = root / "source", int(gigabytes * (1 << 30))
    with source.open("wb") as file:
        file.truncate(size)
    mount = maker(limit=WITHIN)
    mount.programs.run("cp", "--sparse=never", source, mount.path / "large", timeout=WITHIN)
    found = peak(mount)
    assert isinstance(mount.bucket, RemoteBucket)
    (version,) = mount.bucket.bucket.list_file_versions("large")
    assert version.size == size, version
    mount.umount()
    return found


def many_small_files(maker: MountMaker, _root: Path, count: int) -> int:
    """Written while B2 takes nothing; they are left to the next mount, which this one does not wait for."""
    mount = maker("--write-back=0", limit=WITHIN)
    mount.expect_log("WARNING")
    mount.expect_log("ERROR")
    for number in range(WRITERS):
        (mount.path / str(number)).mkdir()
    maker.server.faults.replace(NOTHING_IN)

    def write(writer: int) -> None:
        for number in range(writer, count, WRITERS):
            (mount.path / str(writer) / f"some file {number}").write_bytes(b"%d" % number * 100)

    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(write, writer) for writer in range(WRITERS)]:
            done.result()
    time.sleep(5)  # of trying to send them
    found = peak(mount)
    left = len(os.listdir(mount.cache.glob("*/staging").__next__()))
    assert left >= count, f"{left} files are staged"
    mount.kill()
    return found


def measure(what: str, work: Callable[[MountMaker, Path], int]) -> bool:
    """Whether it stayed below the limit; with an emulator and directories of its own."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="memory-") as name, EmulatorServer(Path(name, "b2")) as server:
        maker = MountMaker(
            server, open_account(server.url, server.key_id, server.application_key), Path(name)
        )
        try:
            found = work(maker, Path(name))
        finally:
            server.faults.clear()
            maker.close()
    print(f"{what}: {found / 1e6:.0f} MB at most, after {time.monotonic() - begun:.0f} s", flush=True)
    return found < LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.memory", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--files", type=int, default=100_000)
    arguments = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    show_connections()
    gigabytes, files = arguments.gigabytes, arguments.files
    results = [
        measure(f"a file of {gigabytes:g} GiB", lambda m, root: a_large_file(m, root, gigabytes)),
        measure(f"{files} files, B2 takes nothing", lambda m, root: many_small_files(m, root, files)),
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
