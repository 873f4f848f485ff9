"""An emulator for the whole run, a bucket for each mount, and mounts that never outlive their test.

`folder` is a fresh directory in a mount that all tests share: the cheap one, for whatever works on
files only. `make_mount` makes a mount of the test's own: for options, remounts, kills and faults.

The emulator is a thread of the test process. So whatever holds the interpreter while it waits for the
mount (sqlite3, mmap, extension modules) would keep the emulator from answering the mount: such programs
run as processes of their own.

With B2MOUNT_TESTS_LOCALLY in the environment `folder` is a plain local directory; so one knows that
a test is right before one blames the mount.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from b2sdk.v3 import B2Api

from b2mount.emulator import buckets
from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import BucketView, LocalBucket, RemoteBucket, open_account
from tests.mounted.harness import Directory, LocalDirectory, Mount, Place
from tests.mounted.processes import Programs, show_connections

LOCALLY = "B2MOUNT_TESTS_LOCALLY" in os.environ
TIME_LIMIT = 150.0


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorServer]:
    """A B2 on this machine."""
    # Clients are killed here, and asyncio logs what that breaks. CPython 3.11 can't format two tracebacks at
    # once: if pytest reports a failure in that moment, its own ends with "AST constructor recursion depth".
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    with (
        pytest.MonkeyPatch.context() as patch,  # a bucket a test, and B2 gives an account a hundred
        EmulatorServer(tmp_path_factory.mktemp("emulator"), port=0) as server,
    ):
        patch.setattr(buckets, "MAX_BUCKETS", 10_000)
        yield server


@attrs.define
class MountMaker:
    """Makes mounts, each with a bucket and directories of its own, and takes them down."""

    server: EmulatorServer
    api: B2Api
    root: Path
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)
    _made: list[Mount] = attrs.field(factory=list)

    def bucket(self) -> RemoteBucket:
        """A new, empty bucket."""
        name = f"bucket-{os.getpid()}-{next(BUCKET_NUMBERS)}"
        return RemoteBucket(self.server, self.api.create_bucket(name, "allPrivate"))

    def prepare(self, *options: str, bucket: BucketView | None = None, limit: float = TIME_LIMIT) -> Mount:
        """A mount that is not started yet."""
        secrets = {
            "B2_APPLICATION_KEY_ID": self.server.key_id,
            "B2_APPLICATION_KEY": self.server.application_key,
            "B2_ENVIRONMENT": self.server.url,
        }
        root = self.root / f"mount-{next(self._numbers)}"
        mount = Mount.create(bucket or self.bucket(), root, secrets, options, limit)
        self._made.append(mount)
        return mount

    def __call__(self, *options: str, bucket: BucketView | None = None, limit: float = TIME_LIMIT) -> Mount:
        """A mount, ready for use."""
        mount = self.prepare(*options, bucket=bucket, limit=limit)
        mount.start()
        return mount

    def close(self) -> None:
        """All of them, even when one fails to go."""
        failures = []
        for mount in reversed(self._made):
            try:
                mount.close()
            except AssertionError as error:
                failures.append(str(error))
        self._made.clear()
        assert not failures, "\n".join(failures)


BUCKET_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def api(emulator: EmulatorServer) -> B2Api:
    """b2sdk, logged in to the emulator."""
    show_connections()
    return open_account(emulator.url, emulator.key_id, emulator.application_key)


@pytest.fixture
def make_mount(emulator: EmulatorServer, api: B2Api, tmp_path: Path) -> Iterator[MountMaker]:
    """Makes mounts of this test's own."""
    maker = MountMaker(emulator, api, tmp_path)
    yield maker
    emulator.faults.clear()
    maker.close()


@pytest.fixture
def mount(make_mount: MountMaker) -> Mount:
    """A mount of this test's own, with the defaults."""
    return make_mount()


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    """The mount that the tests of a module share."""
    root = tmp_path_factory.mktemp("shared")
    if LOCALLY:
        yield local_directory(root)
        return
    maker = MountMaker(request.getfixturevalue("emulator"), request.getfixturevalue("api"), root)
    yield maker(limit=280)
    maker.close()


def local_directory(root: Path) -> LocalDirectory:
    """A plain directory, its content for its bucket."""
    place = Place(root)
    programs = Programs(place.environment({}), lambda: None)
    return LocalDirectory(LocalBucket(place.mount_point), programs, place.mount_point)


def files_in(bucket: BucketView, prefix: str) -> dict[str, str]:
    """SHA-1 of every file that the bucket holds below a directory's key: without what stands for directories
    and links."""
    return {
        key.removeprefix(prefix): record.sha1
        for key, record in bucket.objects(prefix).items()
        if "symlink" not in record.info and not key.endswith(".bzEmpty")
    }


@attrs.frozen
class Folder:
    """A directory of one test's own in the shared mount."""

    path: Path
    prefix: str
    """The directory's key in the bucket."""
    home: Directory

    @property
    def run(self) -> Callable[..., str]:
        """Runs a program that must succeed."""
        return self.home.programs.run

    def objects(self) -> dict[str, str]:
        """SHA-1 of every object below, by its name relative to here."""
        found = self.home.bucket.objects(self.prefix)
        return {key.removeprefix(self.prefix): record.sha1 for key, record in found.items()}

    def files(self, below: str = "") -> dict[str, str]:
        """SHA-1 of every file in the bucket below a directory here, as files_in."""
        return files_in(self.home.bucket, f"{self.prefix}{below}")


FOLDER_NUMBERS = itertools.count()


@pytest.fixture
def folder(shared: Directory) -> Iterator[Folder]:
    """A fresh directory in the shared mount; the mount must be well before and after."""
    shared.check()
    name = f"case-{next(FOLDER_NUMBERS)}"
    path = shared.path / name
    path.mkdir()
    device = path.stat().st_dev
    yield Folder(path, f"{name}/", shared)
    shared.check()
    assert shared.path.stat().st_dev == device
