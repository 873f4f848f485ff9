"""A B2, as in the tests of mounts."""

from __future__ import annotations

from tests.mounted.conftest import api, emulator

__all__ = ["api", "emulator"]
