"""usage.json: what one mount has asked of B2 in the hour, day and month that it is, on disk.

Invariants: replaced in one step, so that a reader and a crash find the old one or the new one; what
is broken, of another account or of another format counts as nothing. It is not forced to the disk:
a power cut may lose the last of it.

Must not know: prices.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from b2mount.budget import Period
from b2mount.store.ledger import Dated, Usage

log = logging.getLogger(__name__)

NAME: Final = "usage.json"
FORMAT: Final = 1
LARGEST: Final = 64 * 1024


@attrs.frozen
class UsageFile:
    """The file of one mount, in its state directory; those of others lie in directories beside it."""

    directory: Path
    account_id: str

    def read(self) -> dict[Period, Dated]:
        """What was written last; nothing when there is none that makes sense."""
        return self._read(self.directory / NAME)

    def read_others(self) -> tuple[dict[Period, Dated], ...]:
        """The same of all other mounts of the account in this cache directory."""
        beside = self.directory.parent.glob(f"*/{NAME}")
        return tuple(self._read(path) for path in beside if path.parent.name != self.directory.name)

    def write(self, periods: Mapping[Period, Dated]) -> None:
        """Raises OSError."""
        document = {
            "format": FORMAT,
            "account": self._account,
            "periods": {period.value: attrs.asdict(dated) for period, dated in periods.items()},
        }
        fresh = self.directory / f"{NAME}.new"
        fresh.write_text(json.dumps(document))
        os.replace(fresh, self.directory / NAME)

    @property
    def _account(self) -> str:
        return hashlib.sha256(self.account_id.encode()).hexdigest()[:12]

    def _read(self, path: Path) -> dict[Period, Dated]:
        try:
            with path.open("rb") as file:
                document = json.loads(file.read(LARGEST))
            if (document["format"], document["account"]) != (FORMAT, self._account):
                return {}
            return {Period(name): _dated(fields) for name, fields in document["periods"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.debug("%s is of no use: %s", path, error)
            return {}


def _dated(fields: Mapping[str, object]) -> Dated:
    usage = fields["usage"]
    if not isinstance(usage, dict) or not isinstance(usage["calls"], dict):
        raise TypeError("no usage")
    calls = {str(call): _count(count) for call, count in usage["calls"].items()}
    down, up = _count(usage["bytes_down"]), _count(usage["bytes_up"])
    return Dated(_count(fields["number"]), Usage(calls, down, up))


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} counts nothing")
    return value
