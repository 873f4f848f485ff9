"""What a claim lets be found."""

from __future__ import annotations

import pytest

from tests.crash.claims import Claims, beginning_of, digest

DATA = b"the whole file"


@pytest.mark.parametrize(
    ("found", "is_well"),
    [(None, True), (b"", False), (b"the", False), (DATA[:9], True), (DATA, True), (b"the hole f", False)],
)
def test_a_file_that_a_full_disk_cut_short_is_a_beginning_of_it(found: bytes | None, is_well: bool) -> None:
    claims = Claims({"n": [None, digest(DATA)]}, {"n": beginning_of(DATA, 5)})
    assert (not list(claims.faults({} if found is None else {"n": found}))) == is_well


def test_without_a_full_disk_it_is_whole_or_not_there() -> None:
    claims = Claims({"n": [None, digest(DATA)]})
    assert list(claims.faults({"n": DATA[:9]}))
    assert list(claims.faults({"n": b""}))
