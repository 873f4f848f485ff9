"""What goes wrong with the emulated B2 while it is tortured: everything that it can do and that may pass."""

from __future__ import annotations

from typing import Final

from b2mount.emulator.faults import Fault, FaultKind

SHARE: Final = 0.1
"""Of all requests."""
DELAY: Final = 0.5
LATEST: Final = DELAY + 0.3
"""Seconds after which a request whose sender is dead is done, or never will be."""
STATUSES: Final = (408, 429, 500, 503)
"""The other ones are answers that do not pass: programs would have to see them."""

WITH_A_TOKEN: Final = "b2_[!a]*"
"""All calls but b2_authorize_account, of which the same answer says that B2 does not know the key."""

UPLOADS: Final = "b2_upload_*"


def troubles(seed: int, share: float = SHARE, *, wrong_bytes: bool = True) -> list[Fault]:
    """Rules that hit `share` of all requests, in equal parts. Without `wrong_bytes` only what is sent gets
    damaged on its way, which B2 sees."""
    kinds = [(FaultKind.ERROR, status) for status in STATUSES]
    kinds += [(kind, 503) for kind in FaultKind if kind is not FaultKind.ERROR]
    endpoints = {FaultKind.EXPIRED_TOKEN: WITH_A_TOKEN}
    if not wrong_bytes:
        endpoints[FaultKind.WRONG_BYTES] = UPLOADS
    chance = share / len(kinds)
    return [
        Fault(
            kind,
            endpoint=endpoints.get(kind, "*"),
            probability=chance,
            seed=seed + number,
            status=status,
            after_bytes=10_000 if kind in (FaultKind.CUT_BODY, FaultKind.WRONG_BYTES) else 0,
            bytes_per_second=300_000,
            seconds=DELAY,
        )
        for number, (kind, status) in enumerate(kinds)
    ]


def damage(seed: int, share: float = SHARE) -> list[Fault]:
    """Wrong bytes in downloads of files that are read as a whole before anybody sees a byte of them: B2 has
    no checksum of a part of an object, and without TLS wrong bytes of a big one are known at its end."""
    return [
        Fault(FaultKind.WRONG_BYTES, "b2_download_*", name, probability=share / 10, seed=seed + number)
        for number, name in enumerate(("round-*/small/*", "round-*/large/*", "round-*/shared/*"))
    ]


def storm(seed: int) -> list[Fault]:
    """B2 is too busy, and sometimes says for how long."""
    return [
        Fault(status=503, probability=0.45, seed=seed, retry_after=1),
        Fault(status=503, probability=0.8, seed=seed + 1),
    ]
