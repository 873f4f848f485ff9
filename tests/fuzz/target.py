"""What can be fuzzed, and what a target promises."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import attrs


@attrs.frozen
class Target:
    """`run` takes any bytes; an exception out of it is a fault that was found."""

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    """Where the fuzzer begins; each runs in milliseconds."""
    words: tuple[str, ...] = ()
    """What an input may well hold: the fuzzer's dictionary."""
    longest: int = 4096
    """Bytes of an input."""


def texts(*seeds: str) -> tuple[bytes, ...]:
    """Seeds that are texts."""
    return tuple(seed.encode("utf-8", "surrogateescape") for seed in seeds)


def throws(name: str, count: int = 12, size: int = 400) -> tuple[bytes, ...]:
    """Seeds for a target that takes its decisions from bytes: no decision at all, and some at random, always
    the same."""
    chance = random.Random(name)
    return (b"", *(chance.randbytes(size) for _ in range(count)))


def may_raise(work: Callable[[], object], *expected: type[BaseException]) -> object:
    """What `work` returns, or None where it raises what it says that it raises."""
    try:
        return work()
    except expected:
        return None


def named(targets: Iterable[Target]) -> dict[str, Target]:
    """By name."""
    return {target.name: target for target in targets}
