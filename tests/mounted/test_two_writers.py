"""Two mounts, with a cache each, write the same names at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.claims import Ledger, SharedWrite, Word
from tests.mounted.bucket import RemoteBucket, sha1_of
from tests.mounted.conftest import MountMaker
from tests.torture.crowd import FOLDER, Crowd, seed_bucket

pytestmark = pytest.mark.kernel

SECONDS = 4


@pytest.fixture(params=[(), ("--write-back=0.2",)], ids=["close waits", "write-back"])
def crowds(request: pytest.FixtureRequest, make_mount: MountMaker, tmp_path: Path) -> Iterator[list[Crowd]]:
    """A program on each of two mounts, that write the same names."""
    bucket = make_mount.bucket()
    seed_bucket(bucket)
    mounts = [make_mount(*request.param, bucket=bucket) for _ in range(2)]
    crowds: list[Crowd] = []
    try:
        for number, mount in enumerate(mounts):
            mount.expect_log("was changed by others")
            crowds.append(
                Crowd.gather(mount, tmp_path / f"ledger-{number}", number, programs=(f"share-{number}",))
            )
        yield crowds
    finally:
        for crowd in crowds:
            crowd.destroy()


def writes_of(ledger: Ledger) -> dict[str, list[str]]:
    """SHA-1 of what one mount has acknowledged, by name, in order."""
    _, notes = ledger.read()
    found: dict[str, list[str]] = {}
    for note in notes:
        if isinstance(note, SharedWrite) and note.word is Word.RETURNED:
            found.setdefault(note.name, []).append(sha1_of(note.data))
    return found


def versions_of(bucket: RemoteBucket, name: str) -> list[str]:
    """SHA-1 of all versions, newest first."""
    versions = list(bucket.bucket.list_file_versions(f"{FOLDER}/{name}"))
    assert all(version.action == "upload" for version in versions)
    return [str(version.content_sha1) for version in versions]


def test_the_last_close_wins_and_no_version_is_lost(crowds: list[Crowd]) -> None:
    """Two mounts, one name: the last close wins, and the other version is still there under
    `b2mount versions`."""
    time.sleep(SECONDS)
    done = [crowd.stop() for crowd in crowds]
    assert min(done) > 10, done
    bucket = crowds[0].mount.bucket
    assert isinstance(bucket, RemoteBucket)
    waits = not crowds[0].mount.options
    for crowd in crowds:
        crowd.mount.umount()
    told = [writes_of(crowd.ledger) for crowd in crowds]
    names = {name for writes in told for name in writes}
    assert len(names) == 4
    for name in names:
        stored = versions_of(bucket, name)
        closed = [writes.get(name, []) for writes in told]
        everything = [sha1 for writes in closed for sha1 in writes]
        assert set(stored) <= set(everything), f"{name}: a version that nobody wrote"
        assert stored[0] in {writes[-1] for writes in closed if writes}, (
            f"{name}: not the last close of either"
        )
        if waits:  # else what is closed again before its turn has come is never sent
            assert set(everything) == set(stored), f"{name}: a version is lost"
            for writes in closed:
                assert [sha1 for sha1 in reversed(stored) if sha1 in writes] == writes, (
                    "in the order of closes"
                )
