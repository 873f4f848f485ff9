"""Every target by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz import answers, bucket, control, disk, emulated, typed
from tests.fuzz.target import Target, named

TARGETS: Final[dict[str, Target]] = named(
    [*typed.TARGETS, *answers.TARGETS, *bucket.TARGETS, *disk.TARGETS, *control.TARGETS, *emulated.TARGETS]
)
