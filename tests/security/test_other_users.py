"""What another user of the machine sees of a mount: nothing, whatever the caller's umask was."""

from __future__ import annotations

import os
import resource
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from b2sdk.v3 import B2Api

from b2mount.control.places import SYSTEM_RUNTIME_DIR, socket_name
from b2mount.emulator.server import EmulatorServer
from b2mount.errors import MountPointUnusable
from b2mount.private_directory import private_directory
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import mount_entry, wait_until

NOBODY = 65534

INTRUDER = """
import os, socket, sys
for path in sys.argv[1:]:
    try:
        if path.endswith(".sock"):
            socket.socket(socket.AF_UNIX).connect(path)
        elif os.path.isdir(path):
            os.listdir(path)
        else:
            open(path, "rb").read(1)
    except PermissionError:
        continue
    print(path)
"""


def everything(mount: Mount) -> Iterator[Path]:
    """What a mount keeps on the local disk: cache, journal, staged files, usage, names, logs, sockets."""
    for directory, _, names in os.walk(mount.cache):
        yield Path(directory)
        yield from (Path(directory) / name for name in names)
    yield SYSTEM_RUNTIME_DIR
    yield SYSTEM_RUNTIME_DIR / f"{socket_name(str(mount.path))}.sock"


def seen_by(mount: Mount, uid: int, *paths: Path | str) -> list[str]:
    """Which of these a process of this user can read, list or connect to."""
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-I", "-c"]
    return mount.programs.run(*command, INTRUDER, *paths).split()


@pytest.fixture(scope="module")
def careless(emulator: EmulatorServer, api: B2Api, public_place: Path) -> Iterator[Mount]:
    """A mount in the background with something of everything, made by root with umask 0."""
    make_mount = MountMaker(emulator, api, public_place / "careless")
    mount = make_mount.prepare("--write-back=60", "--ttl=5m", "--keep-versions=2")
    before, limits = os.umask(0), resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        mount.programs.run(*mount.command())
    finally:
        os.umask(before)
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    (mount.path / "cached").write_bytes(b"x" * 300_000)
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert mount.b2mount("warm", mount.path)[0] == 0
    wait_until(lambda: bool(list(mount.cache.rglob("*.blocks"))), "the cache is on disk")
    (mount.path / "staged").write_bytes(b"y" * 1000)
    yield mount
    assert mount.b2mount("umount", mount.path)[0] == 0


@pytest.mark.kernel
def test_every_file_directory_and_socket_is_the_owners_alone(careless: Mount) -> None:
    found = {path: path.lstat() for path in everything(careless)}
    kinds = {path.suffix for path, status in found.items() if not stat.S_ISDIR(status.st_mode)}
    assert {".blocks", ".sqlite3", ".log", ".sock", ""} <= kinds, kinds  # "": staged
    assert {path: oct(status.st_mode) for path, status in found.items() if status.st_mode & 0o077} == {}


@pytest.mark.kernel
def test_another_user_gets_at_nothing(careless: Mount) -> None:
    pid = next(iter(_processes_of(careless)))
    process = [f"/proc/{pid}/{name}" for name in ("environ", "mem", "fd", "maps")]
    assert seen_by(careless, NOBODY, *everything(careless), careless.path, *process) == []
    assert seen_by(careless, 0, careless.path) == [
        str(careless.path)
    ]  # the intruder can see what is to be seen
    socket = next(path for path in everything(careless) if path.suffix == ".sock")
    assert seen_by(careless, 0, socket) == [str(socket)]


@pytest.mark.kernel
def test_set_id_programs_and_devices_of_a_bucket_have_no_power(careless: Mount) -> None:
    """Whatever mode a stranger gave an object."""
    text = Path("/proc/self/mountinfo").read_text()
    line = next(line for line in text.splitlines() if f" {careless.path} " in line)
    assert {"nosuid", "nodev"} <= set(line.split()[5].split(","))


@pytest.mark.kernel
def test_a_crash_leaves_no_memory_behind(careless: Mount) -> None:
    """A core dump would have the key in it. At 1 the kernel hands none to a program, either."""
    limits = Path(f"/proc/{next(iter(_processes_of(careless)))}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4] in ("0", "1")


def _processes_of(mount: Mount) -> Iterator[int]:
    assert mount_entry(mount.path) is not None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(mount.path) in words and b"mount" in words:
            yield int(process.name)


def test_a_directory_that_somebody_prepared_is_refused(tmp_path: Path) -> None:
    """Who owns it could exchange what is in it, and so could one whom a link leads to."""
    prepared = tmp_path / "prepared"
    prepared.mkdir(mode=0o777)
    prepared.chmod(0o777)
    assert private_directory(prepared).stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(prepared)
    with pytest.raises(MountPointUnusable, match="of your own"):
        private_directory(tmp_path / "link")
    os.chown(prepared, NOBODY, NOBODY)
    with pytest.raises(MountPointUnusable, match="of your own"):
        private_directory(prepared)
    with pytest.raises(MountPointUnusable, match="prepared belongs to another user"):
        private_directory(prepared / "log")
    assert list(prepared.iterdir()) == []


@pytest.mark.kernel
def test_a_mount_refuses_a_prepared_cache(careless: Mount, make_mount: MountMaker) -> None:
    mount = make_mount.prepare(bucket=careless.bucket)
    for name in ("log", next(path.parent.name for path in careless.cache.glob("*/staging"))):
        prepared = mount.cache / name
        prepared.mkdir(parents=True)
        os.chown(prepared, NOBODY, NOBODY)
        code, output = mount.programs.attempt(mount.command())
        assert code == 5, output
        assert f"{prepared} must be a directory of your own" in output
        os.chown(prepared, 0, 0)
    os.chown(mount.cache, NOBODY, NOBODY)
    code, output = mount.programs.attempt(mount.command())
    assert code == 5, output
    assert f"{mount.cache} belongs to another user" in output
