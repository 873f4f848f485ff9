"""What the front doors see of an inode, and what the coordinator sees of a caller."""

from __future__ import annotations

import attrs

from b2mount.model import Attributes


@attrs.frozen
class Node:
    """An inode at one moment."""

    number: int
    attributes: Attributes
    valid_for: float
    """Seconds for which the answer may be kept."""
    links: int = 1
    """How many names it has: 0 when it is only open any more."""


@attrs.frozen
class Requester:
    """The program that asks."""

    uid: int
    gid: int
    umask: int
