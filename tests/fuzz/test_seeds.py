"""Every target runs its seeds, as the fuzzer begins with them; and the fuzzer's own parts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import hostile
from tests.fuzz.all_targets import TARGETS
from tests.fuzz.choices import Choices
from tests.fuzz.confined import confined
from tests.fuzz.target import Target, throws


@pytest.fixture
def silence() -> Iterator[None]:
    """A hostile world makes a mount say much."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("silence")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_seeds(target: Target) -> None:
    for seed in target.seeds:
        target.run(seed)


def test_choices_come_to_an_end() -> None:
    choices = Choices(b"\x05\xff")
    assert (choices.below(10), choices.below(7), choices.below(7), choices.is_over) == (5, 255 % 7, 0, True)
    assert choices.of("abc") == "a"
    assert not choices.chance(1)


def test_a_spoiled_document_leaves_the_good_one_alone() -> None:
    good = {"a": [1, {"b": "c"}]}
    made = [hostile.spoiled(Choices(throw), good) for throw in throws("documents", 50)]
    assert good == {"a": [1, {"b": "c"}]}
    assert made[0] == good
    assert len({json.dumps(each) for each in made}) > 20


def test_a_file_elsewhere_is_noticed(tmp_path: Path) -> None:
    def make(*, elsewhere: bool) -> None:
        with confined() as place:
            (place / "here").write_bytes(b"")
            if elsewhere:
                os.mkdir(tmp_path / "elsewhere")

    make(elsewhere=False)
    with pytest.raises(AssertionError, match="elsewhere"):
        make(elsewhere=True)
