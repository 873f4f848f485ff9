"""What will be done in a round, and what will go wrong: a function of a seed and the round's number."""

from __future__ import annotations

import enum
import random
from typing import Final

import attrs


class Kind(enum.Enum):
    """A trouble."""

    KILL = "kill"
    """SIGKILL, and it is mounted again."""
    FULL_DISK = "full disk"
    """Somebody else fills the disk that the cache is on."""
    CUT = "cut"
    """Every connection to B2 is refused."""
    SILENCE = "silence"
    """No answer comes from B2, and no refusal."""
    STORM = "storm"
    """B2 is too busy for nine requests in ten."""
    TOKENS = "tokens"
    """All tokens and upload URLs expire at once."""
    CLOCK = "clock"
    """The machine's wall clock is set."""
    LATER = "later"
    """It is another day in B2."""
    SLEEP = "sleep"
    """The machine has slept."""


@attrs.frozen
class Event:
    """A trouble and its measures; `size` is what its kind makes of it: bytes left, seconds of a jump."""

    kind: Kind
    mount: int
    """Which of the two, for what befalls a machine."""
    after: float
    """Seconds without trouble before."""
    seconds: float
    size: float
    kills: bool
    """The mount dies in the middle of it."""
    lives: tuple[float, ...] = ()
    """Seconds until the next mount dies too, and the one after that: while they take up what was left."""


class Ending(enum.Enum):
    """How the work of a round gets into B2."""

    UNMOUNT = "unmount"
    """At once, whatever is still to be sent."""
    FLUSH = "flush, and a kill"
    """Meanwhile each mount is asked for the other's names."""


@attrs.frozen
class Round:
    """Everything that is drawn for one round."""

    number: int
    options: tuple[tuple[str, ...], tuple[str, ...]]
    """Of the two mounts."""
    fresh_cache: bool
    """Of the first one."""
    share: float
    """Of the requests that fail without any event."""
    seed: int
    """Of the programs and the requests that fail."""
    fio_block: str
    events: tuple[Event, ...]
    ending: Ending

    def __str__(self) -> str:
        events = ", ".join(
            f"{'a kill in a ' * each.kills}{each.kind.value} of {each.seconds:.1f} s" for each in self.events
        )
        options = " and ".join(" ".join(each) or "defaults" for each in self.options)
        return f"round {self.number} ({options}): {events}; {self.ending.value}"


HARMLESS: Final = (Kind.TOKENS, Kind.CLOCK, Kind.LATER, Kind.SLEEP)
"""What no program may notice."""
CYCLE: Final = 3
"""Rounds that have every kind between them."""
WRITING: Final = ((), ("--write-back=0",), ("--write-back=0.5",), ("--write-back=600",))
CACHES: Final = ((), ("--cache-size=4M",), ("--cache-size=40M",))
PATIENCE: Final = ((), ("--retry-for=3",))
TTL: Final = 1.0
"""Seconds; of both mounts."""
BLOCKS: Final = ("4k", "16k", "64k", "256k")
SHARES: Final = (0.0, 0.02, 0.1)
LEFT: Final = (0, 100_000, 5_000_000)
JUMPS: Final = (-86_400.0, -3600.0, -2.0, 2.0, 3600.0, 86_400.0, 366 * 86_400.0)
NAPS: Final = (10.0, 3600.0, 7 * 86_400.0)
LIVES: Final = (0, 0, 1, 3)
CHANCE_OF_MINUTES: Final = 0.06
"""That a cut lasts for minutes."""


def draw(seed: int, number: int) -> Round:
    """The round of this number."""
    dice = random.Random(f"{seed} {number}")
    second = (*dice.choice(WRITING), *dice.choice(CACHES), f"--ttl={TTL:g}")
    first = (*dice.choice(WRITING), *dice.choice(CACHES), *dice.choice(PATIENCE), f"--ttl={TTL:g}")
    return Round(
        number=number,
        options=(first, second),
        fresh_cache=dice.random() < 0.3,
        share=SHARES[-1] if number % CYCLE == 0 else dice.choice(SHARES),
        seed=dice.randrange(10**6),
        fio_block=dice.choice(BLOCKS),
        events=tuple(_event(dice, kind) for kind in _kinds(seed, number)),
        ending=dice.choice(list(Ending)),
    )


def _kinds(seed: int, number: int) -> list[Kind]:
    """In one round of a cycle nothing happens that a program may notice."""
    cycle, place = divmod(number, CYCLE)
    dice = random.Random(f"{seed} cycle {cycle}")
    calm = list(HARMLESS)
    hard: list[Kind] = [Kind.KILL, *(kind for kind in Kind if kind not in HARMLESS)]
    dice.shuffle(calm)
    dice.shuffle(hard)
    rounds = [calm, hard[:3], hard[3:]]
    dice.shuffle(rounds)
    return rounds[place]


def _event(dice: random.Random, kind: Kind) -> Event:
    minutes = dice.random() < CHANCE_OF_MINUTES
    seconds, pause = dice.uniform(0.2, 2.5), dice.uniform(0, 1.5)
    size, kills = 0.0, False
    lives: tuple[float, ...] = ()
    match kind:
        case Kind.FULL_DISK:
            size, kills = dice.choice(LEFT), dice.random() < 0.4
        case Kind.CUT | Kind.SILENCE | Kind.STORM:
            kills = dice.random() < 0.4
            seconds = dice.uniform(61, 150) if minutes else seconds
        case Kind.CLOCK:
            size = dice.choice(JUMPS)
        case Kind.SLEEP:
            size = dice.choice(NAPS)
        case Kind.LATER:
            size = dice.choice((3600.0, 90_000.0))
        case Kind.KILL:
            kills = True
            lives = tuple(dice.uniform(0, 0.5) for _ in range(dice.choice(LIVES)))
    return Event(kind, dice.randrange(2), pause, seconds, size, kills, lives)
