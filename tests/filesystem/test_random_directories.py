"""Directories at random, made, moved, exchanged, removed and changed, on a slow bucket whose replies get
lost, while names live for a second: they are what a model of them is. No kernel."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
import trio.testing

from b2mount.model import AttributeChange
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world

PLACES: Final = ("b", "c", "d", "b/b", "c/b", "b/c", "c/c")
STEPS: Final = 60
TAKES: Final = (0, 0.01, 0.05, 0.2, 0.5)


@attrs.frozen
class Slow:
    """A MemoryStore whose requests take time before and after, and are repeated when a reply was lost."""

    inner: MemoryStore
    dice: random.Random

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(verb):
            return verb

        async def call(*args: object, **options: object) -> object:
            await trio.sleep(self.dice.choice(TAKES))
            result = await verb(*args, **options)
            if name in ("put", "copy", "hide") and self.dice.random() < 0.15:
                await trio.sleep(self.dice.choice(TAKES))
                result = await verb(*args, **options)
            await trio.sleep(self.dice.choice(TAKES))
            return result

        return call


def above(path: str) -> str:
    return path.rpartition("/")[0]


def is_at(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


@attrs.define
class Model:
    """Mode and owner of each directory."""

    names: dict[str, tuple[int, int]] = attrs.field(factory=dict)

    def below(self, path: str) -> bool:
        return any(above(name) == path for name in self.names)

    def may_be_at(self, path: str) -> bool:
        return not above(path) or above(path) in self.names

    def move(self, old: str, new: str, *, swaps: bool) -> None:
        """`old` is `new` from now on; what was there is gone, or `old`."""
        moved = {}
        for name, what in self.names.items():
            if is_at(name, old):
                moved[new + name[len(old) :]] = what
            elif not is_at(name, new):
                moved[name] = what
            elif swaps:
                moved[old + name[len(new) :]] = what
        self.names = moved


async def act(w: World, model: Model, dice: random.Random) -> None:
    """One operation, if it can be done."""
    one, other = dice.choice(PLACES), dice.choice(PLACES)
    what = dice.choice(
        ("make", "make", "change", "change", "change", "move", "exchange", "remove", "remove", "wait")
    )
    apart = not is_at(one, other) and not is_at(other, one)
    if what == "wait":
        await trio.sleep(dice.choice((0.1, 0.6, 1.5)))
    elif what == "make" and one not in model.names and model.may_be_at(one):
        attributes = (await w.mkdir(one)).attributes
        model.names[one] = (attributes.mode, attributes.uid)
    elif one not in model.names:
        return
    elif what == "change":
        mode, uid = model.names[one] = dice.choice((0o700, 0o744, 0o711)), dice.choice((5, 6))
        change = AttributeChange(mode=mode, uid=uid)
        await w.fs.setattr((await w.node(one)).number, change, size=None, fh=None)
    elif what == "remove" and not model.below(one):
        await w.rmdir(one)
        del model.names[one]
    elif what == "move" and apart and model.may_be_at(other) and not model.below(other):
        await w.rename(one, other)
        model.move(one, other, swaps=False)
    elif what == "exchange" and apart and other in model.names:
        await w.fs.exchange(await w.split(one), await w.split(other))
        model.move(one, other, swaps=True)


async def seen(w: World) -> dict[str, tuple[int, int]]:
    found = {}
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        for name in await w.names(directory):
            path = f"{directory}/{name}" if directory else name
            attributes = (await w.node(path)).attributes
            found[path] = (attributes.mode, attributes.uid)
            waiting.append(path)
    return found


def slow(dice: random.Random) -> Any:
    """An ObjectStore, in all but name."""
    return Slow(MemoryStore(), dice)


@pytest.mark.parametrize("seed", [84, 117, 190, 215, *range(20)])
async def test_a_tree_is_what_its_model_is(
    seed: int, autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    dice, model = random.Random(seed), Model()
    async with world(slow(dice), tmp_path, ttl=1) as w:
        for _ in range(STEPS):
            await act(w, model, dice)
        for _ in range(3):  # with what is still on its way, and with what B2 says then
            await trio.sleep(3)
            await seen(w)
            assert await seen(w) == model.names
