"""What `b2mount doctor` finds: one line each, with a mark and how to mend it."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import attrs

from b2mount.cli.exit_codes import DONE, OTHER, exit_code
from b2mount.errors import B2MountError
from b2mount.plain_text import plain


class Mark(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """A mount would work, yet somebody may want to know."""
    TROUBLE = "trouble"
    """A mount would fail."""


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    mark: Mark
    subject: str
    text: str
    mend: str = ""
    code: int = DONE
    """The exit code that a mount would end with because of it."""

    @property
    def line(self) -> str:
        """As a person reads it."""
        rest = f": {self.mend}" if self.mend else ""
        return plain(f"{self.mark:<8} {self.subject:<12} {' '.join((self.text + rest).split())}")


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(Mark.OK, subject, text)


def warning(subject: str, text: str, mend: str = "") -> Finding:
    """A mount would work."""
    return Finding(Mark.WARNING, subject, text, mend)


def trouble(subject: str, error: B2MountError | OSError, mend: str = "") -> Finding:
    """A mount would end with this error."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Finding(Mark.TROUBLE, subject, f"{where}{error.strerror or error}", mend, OTHER)
    return Finding(Mark.TROUBLE, subject, str(error), mend, exit_code(error))


def code_of(findings: Iterable[Finding]) -> int:
    """What a mount would end with: findings come in the order in which it would meet them."""
    return next((finding.code for finding in findings if finding.mark is Mark.TROUBLE), DONE)
