"""`.b2/at`: which names mean which moment, for how long, and how many of their trees are kept."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import NameTooLong, NotFound
from b2mount.filesystem.moments_directory import LONG, SPARE, TopCatalog
from b2mount.filesystem.numbers import area_of
from b2mount.model import ObjectPath
from b2mount.moments import parse_moment
from b2mount.namespace.catalog import Catalog
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import bare_directory
from tests.namespace.world import DEFAULTS, STARTED_NS, WatchedStore, names_of

ROOT = ObjectPath("bucket", "")


@attrs.define
class At:
    """The directory, with the moments that trees were made for."""

    made: list[int] = attrs.field(factory=list)
    known: Counter[int] = attrs.field(factory=Counter)
    top: TopCatalog = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        attributes = bare_directory(DEFAULTS, STARTED_NS)
        self.top = TopCatalog(ROOT, attributes, {}, self.make, lambda area: self.known[area] > 0)

    def make(self, moment: int, first: int) -> Catalog:
        self.made.append(moment)
        names: Namespace = names_of(WatchedStore())
        names.root.number = first
        return names

    async def look(self, name: str) -> Inode:
        return await self.top.lookup(await self.top.lookup(self.top.root, "at"), name)


Clock = trio.testing.MockClock


@pytest.fixture
def clock(autojump_clock: Clock) -> Clock:
    return autojump_clock


@pytest.fixture
def at() -> At:
    return At()


async def test_a_name_is_one_tree(at: At, clock: Clock) -> None:
    first = await at.look("2026-01-31T12:00:00Z")
    await trio.sleep(10_000)
    assert await at.look("2026-01-31T12:00:00Z") is first
    assert await at.look("2026-01-31 12:00 UTC") is not first
    assert at.made == [1_769_860_800_000] * 2
    assert at.top.meant_for("2026-01-31T12:00:00Z") > 10**9


@pytest.mark.parametrize(("name", "seconds"), [("now", 1), ("10 minutes ago", 6), ("2 days ago", 60)])
async def test_what_depends_on_the_present_means_something_else_later(
    at: At, clock: Clock, name: str, seconds: float
) -> None:
    first = await at.look(name)
    assert at.top.meant_for(name) == pytest.approx(seconds, rel=0.01)
    await trio.sleep(seconds * 0.9)
    assert await at.look(name) is first
    at.known[area_of(first.number)] += 1
    await trio.sleep(seconds * 0.2)
    assert await at.look(name) is not first
    assert at.top.view(area_of(first.number)).root is first  # who is in it stays in it
    at.known[area_of(first.number)] -= 1
    await at.look("2026-01-31")
    with pytest.raises(NotFound):
        at.top.view(area_of(first.number))


async def test_trees_that_nobody_knows_are_few(at: At) -> None:
    held = await at.look("2026-01-01")
    at.known[area_of(held.number)] += 1
    for minute in range(2 * SPARE):
        await at.look(f"2026-01-31T12:{minute:02}:00Z")
    count = len(at.made)
    for minute in range(SPARE, 2 * SPARE):
        await at.look(f"2026-01-31T12:{minute:02}:00Z")
    assert await at.look("2026-01-01") is held
    assert len(at.made) == count
    await at.look("2026-01-31T12:00:00Z")
    assert at.made[count:] == [parse_moment("2026-01-31T12:00:00Z")]


async def test_what_is_no_moment(at: At) -> None:
    for name in ("soon", "tomorrow", "01.02.2026", ""):
        with pytest.raises(NotFound):
            await at.look(name)
    with pytest.raises(NameTooLong):
        await at.look("x" * 256)
    assert at.made == []
    assert at.top.valid_for(at.top.root) == LONG
    assert (await at.look(".."), await at.look(".")) == (at.top.root, await at.top.lookup(at.top.root, "at"))
