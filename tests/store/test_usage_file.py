"""What a mount has asked for is found again after it, and by others of the account."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from b2mount.budget import Period
from b2mount.store.ledger import Dated, Usage
from b2mount.store.usage_file import NAME, UsageFile

SOME = {Period.DAY: Dated(7, Usage({"b2_hide_file": 3}, 10, 20)), Period.HOUR: Dated(170, Usage())}


def file_of(root: Path, name: str, account: str = "account") -> UsageFile:
    directory = root / name
    directory.mkdir(exist_ok=True)
    return UsageFile(directory, account)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = file_of(tmp_path, "one")
    assert file.read() == {}
    file.write(SOME)
    file.write(SOME)
    assert file_of(tmp_path, "one").read() == SOME
    assert [path.name for path in file.directory.iterdir()] == [NAME]
    assert "account-id" not in (file.directory / NAME).read_text()


def test_others_of_the_account_are_read(tmp_path: Path) -> None:
    file_of(tmp_path, "one").write(SOME)
    file_of(tmp_path, "two").write(SOME)
    file_of(tmp_path, "stranger", "somebody else").write(SOME)
    (tmp_path / "log").mkdir()
    found = file_of(tmp_path, "one").read_others()
    assert [each for each in found if each] == [SOME]


@pytest.mark.parametrize(
    "change",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 50_000,
        {"format": 2},
        {"account": "x"},
        {"periods": []},
        {"periods": {"week": {}}},
        {"periods": {"day": {"number": 1}}},
        {"periods": {"day": {"number": "1", "usage": {"calls": {}, "bytes_down": 0, "bytes_up": 0}}}},
        {"periods": {"day": {"number": 1, "usage": {"calls": {"a": -1}, "bytes_down": 0, "bytes_up": 0}}}},
        {"periods": {"day": {"number": 1, "usage": {"calls": {}, "bytes_down": 0.5, "bytes_up": 0}}}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_broken_file_counts_as_none(tmp_path: Path, change: bytes | dict[str, object]) -> None:
    file = file_of(tmp_path, "one")
    file.write(SOME)
    place = file.directory / NAME
    place.write_bytes(
        change if isinstance(change, bytes) else json.dumps(json.loads(place.read_text()) | change).encode()
    )
    assert file.read() == {}
    assert file_of(tmp_path, "two").read_others() == ({},)
    file.write(SOME)
    assert file.read() == SOME
