"""What every test lives with: a warning of ours in the log fails it, unless it said so before."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# a machine that others use is slow when it likes
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


class WarningLog(logging.Handler):
    """Collects what `b2mount.*` logs at WARNING or above, and what a test expects of it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.expected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    def __call__(self, text: str) -> None:
        """In this test a warning or an error with `text` in it must be logged, once or more often."""
        self.expected.append(text)

    def verdict(self) -> list[str]:
        """One line for each surprise and for each expected text that never came."""
        surprises = [line for line in self.lines if not any(text in line for text in self.expected)]
        missing = [text for text in self.expected if not any(text in line for line in self.lines)]
        return [f"logged: {line}" for line in surprises] + [f"never logged: {text}" for text in missing]


@pytest.fixture(autouse=True)
def expect_warning() -> Iterator[WarningLog]:
    """A test that provokes a warning calls `expect_warning("some of its text")`; any other one fails it."""
    log = WarningLog()
    logger = logging.getLogger("b2mount")
    logger.addHandler(log)
    yield log
    logger.removeHandler(log)
    verdict = log.verdict()
    assert not verdict, "\n".join(verdict)
