"""Which files a walk wants, given what was read; no I/O, no time."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator, Sequence

import attrs
import pytest

from b2mount.filesystem.siblings import ALL_BYTES, BYTES, HEAD, WINDOW, Visit, Walk, Walks, suffix_of
from b2mount.model import ObjectPath, ObjectVersion

KIB, MIB = 1 << 10, 1 << 20
BIG = 5 * MIB


def at(key: str) -> ObjectPath:
    return ObjectPath("bucket", key)


@attrs.define
class Tree:
    """An order over files that are all known, or in the directories that are."""

    sizes: dict[str, int]
    unknown: set[str] = attrs.field(factory=set)
    keys: list[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.keys = sorted(self.sizes)

    def following(self, path: ObjectPath, *, deep: bool) -> Iterator[tuple[ObjectPath, ObjectVersion]]:
        directory = path.key if path.is_directory else path.parent.key
        for key in self.keys[bisect.bisect_right(self.keys, path.key) :]:
            parent = at(key).parent.key
            if not (deep or parent == directory):
                continue
            if parent in self.unknown:
                return
            yield at(key), self.version(key)

    def version(self, key: str) -> ObjectVersion:
        return ObjectVersion(at(key), f"4_z{key}", self.sizes[key], 1)


@attrs.define
class World:
    """Walks over a tree, and what was fetched and read."""

    tree: Tree
    walks: Walks = attrs.field(init=False)
    read_keys: list[str] = attrs.field(factory=list)
    fetched: list[str] = attrs.field(factory=list)
    last_walk: Walk | None = None

    def __attrs_post_init__(self) -> None:
        self.walks = Walks(self.tree, lambda version: version.size >= BIG)

    def read(self, key: str, reach: int = 256 * KIB) -> list[str]:
        """A program reads a file; what is fetched because of it."""
        version = self.tree.version(key)
        visit = Visit(at(key), version)
        walk = self.last_walk = self.walks.read(visit)
        visit.has_read(0, min(version.size, reach))
        wanted = [one.path.key for one in self.walks.wanted(walk)]
        self.read_keys.append(key)
        self.fetched += wanted
        return wanted

    def read_all(self, keys: Sequence[str]) -> list[int]:
        """How many are fetched at each step."""
        return [len(self.read(key)) for key in keys]

    @property
    def wasted(self) -> int:
        return len(set(self.fetched) - set(self.read_keys))


def world(*keys: str, size: int = 8 * KIB, unknown: Sequence[str] = ()) -> World:
    return World(Tree(dict.fromkeys(keys, size), set(unknown)))


def numbered(count: int, directory: str = "", suffix: str = ".txt") -> list[str]:
    return [f"{directory}f{number:04}{suffix}" for number in range(count)]


def together(parts: list[list[str]]) -> list[str]:
    return [key for part in parts for key in part]


def test_files_in_order_are_fetched_ahead_and_more_and_more() -> None:
    keys = numbered(100)
    tested = world(*keys)
    assert tested.read(keys[0]) == []
    assert tested.read(keys[1]) == keys[2:4]
    assert tested.read(keys[2]) == keys[4:9]
    assert tested.read(keys[3]) == keys[9:12]
    most = 0
    for key in keys[4:]:
        tested.read(key)
        assert tested.last_walk is not None
        most = max(most, len(tested.last_walk.ahead))
    assert most == WINDOW
    assert tested.wasted == 0
    assert len(tested.fetched) == len(set(tested.fetched)) == 98
    assert (tested.walks.used, tested.walks.passed_over, tested.walks.size) == (98, 0, 0)


def test_a_walk_may_begin_anywhere() -> None:
    keys = numbered(100)
    tested = world(*keys)
    tested.read_all(keys[40:42])
    assert tested.fetched == keys[42:44]


@pytest.mark.parametrize("seed", range(5))
def test_who_opens_at_random_wastes_next_to_nothing(seed: int) -> None:
    keys = numbered(1000)
    tested = world(*keys)
    dice = random.Random(seed)
    tested.read_all([dice.choice(keys) for _ in range(300)])
    assert tested.wasted <= 15


@pytest.mark.parametrize("step", [2, 3, 10, -1])
def test_who_reads_in_another_order_wastes_next_to_nothing(step: int) -> None:
    keys = numbered(1000)
    tested = world(*keys)
    tested.read_all(keys[::step])
    assert tested.wasted <= 4


def test_it_stops_when_the_walk_begins_to_leave_files_out() -> None:
    keys = numbered(1000)
    tested = world(*keys)
    tested.read_all(keys[:40])
    before = len(tested.fetched)
    tested.read_all(keys[40:400:3])
    assert len(tested.fetched) - before <= 24
    assert tested.wasted <= WINDOW + 24


def test_it_begins_again_once_the_walk_is_in_order_again() -> None:
    keys = numbered(1000)
    tested = world(*keys)
    tested.read_all(keys[:40])
    tested.read_all(keys[40:200:3])
    tested.fetched.clear()
    tested.read_all(keys[400:500])
    assert len(tested.fetched) >= 60


def test_a_walk_that_was_given_up_makes_the_next_one_there_careful() -> None:
    keys = numbered(1000)
    tested = world(*keys, *numbered(2000, "other/"))
    for start in range(0, 1000, 100):  # three in order, and away
        tested.read_all(keys[start : start + 3])
        tested.read_all(numbered(2000, "other/")[start * 2 : start * 2 + 199 : 2])
    assert len(set(tested.fetched) & set(keys)) <= 21


def test_kinds_that_are_left_out_are_not_fetched() -> None:
    pictures = [f"img{number:03}.{kind}" for number in range(100) for kind in ("jpg", "raw", "xmp")]
    tested = world(*pictures)
    tested.read_all([key for key in pictures if key.endswith("jpg")])
    assert tested.wasted == 0
    assert len(tested.fetched) == 98
    tested.fetched.clear()
    again = world(*pictures)
    again.read_all(pictures)
    assert again.wasted == 0
    assert len(again.fetched) == 298


def test_several_programs_in_one_directory_and_in_others() -> None:
    one, two = numbered(400, "one/"), numbered(100, "two/")
    tested = world(*one, *two)
    for first, second, third in zip(one[:100], one[200:300], two, strict=True):
        for key in (first, second, third):
            tested.read(key)
    assert len(tested.fetched) >= 294
    assert tested.wasted <= 2 * WINDOW  # what two of them had ahead in the end, in the middle of a directory


def test_threads_that_change_places_are_one_walk() -> None:
    keys = numbered(200)
    shuffled = [keys[index ^ (index // 4 % 2)] for index in range(200)]
    dice = random.Random(1)
    for start in range(8, 200, 4):
        part = shuffled[start : start + 4]
        dice.shuffle(part)
        shuffled[start : start + 4] = part
    tested = world(*keys)
    tested.read_all(shuffled)
    assert tested.wasted == 0
    assert len(tested.fetched) >= 180


def test_reading_a_file_again_tells_nothing() -> None:
    keys = numbered(10)
    tested = world(*keys)
    assert tested.read_all([keys[0]] * 5) == [0] * 5
    assert tested.read_all([keys[1]] * 3) == [2, 0, 0]


# -- directories -----------------------------------------------------------------------------


def test_a_walk_goes_on_at_full_width_in_the_next_directory() -> None:
    """As `grep -r` does, whose next directory is not known before it gets there."""
    directories = [numbered(50, f"d{number:03}/") for number in range(10)]
    tested = world(*together(directories), unknown=[f"d{number:03}/" for number in range(10)])
    for number, keys in enumerate(directories):
        tested.tree.unknown.discard(f"d{number:03}/")
        fetched = tested.read_all(keys)
        assert fetched[0] == (0 if number == 0 else 49)
    assert tested.wasted == 0


def test_it_crosses_into_the_next_directory_where_that_is_known() -> None:
    directories = [numbered(5, f"d{number:03}/") for number in range(40)]
    keys = together(directories)
    tested = world(*keys)
    most = 0
    for key in keys:
        tested.read(key)
        assert tested.last_walk is not None
        most = max(most, len(tested.last_walk.ahead))
    assert most == WINDOW
    assert len(tested.fetched) == 197
    assert tested.wasted == 0


def test_directories_of_one_file_each_are_a_walk_too() -> None:
    keys = [f"d{number:03}/only" for number in range(50)]
    tested = world(*keys)
    assert sum(tested.read_all(keys)) == 48
    assert tested.wasted == 0


def test_files_first_and_then_the_directories_below() -> None:
    """As os.walk goes."""
    parts = [numbered(40, directory) for directory in ("top/", "top/a/", "top/a/x/", "top/b/")]
    tested = world(*together(parts))
    tested.read_all(parts[0])
    for keys in parts[1:]:
        tested.read(keys[0])
        assert set(keys[1:]) <= set(tested.fetched)
        tested.read_all(keys[1:])
    assert tested.wasted == 0


def test_who_reads_one_directory_does_not_fetch_those_below_it() -> None:
    keys = [f"{number:03}" for number in range(100)]
    tested = world(*keys, *(f"{number:03}x/inside" for number in range(100)))
    tested.read_all(keys)
    assert tested.wasted == 0
    assert len(tested.fetched) == 98


def test_opening_at_random_in_a_tree_of_small_directories() -> None:
    keys = [f"d{directory:03}/{name}" for directory in range(300) for name in ("a", "b")]
    tested = world(*keys)
    dice = random.Random(3)
    tested.read_all([dice.choice(keys) for _ in range(300)])
    assert tested.wasted <= 30


# -- sizes -----------------------------------------------------------------------------------


def test_bytes_are_bounded_for_each_walk_and_for_all() -> None:
    directories = [numbered(30, f"{number}/") for number in range(4)]
    tested = world(*together(directories), size=BIG - 1)
    for keys in zip(*directories, strict=True):
        for key in keys:
            tested.read(key)
            assert tested.last_walk is not None
            assert tested.last_walk.size <= BYTES
            assert tested.walks.size <= ALL_BYTES
    assert len(tested.fetched) >= 60
    assert tested.wasted == 0


def test_walks_that_nobody_goes_on_with_give_up_their_room() -> None:
    stale = [numbered(10, f"s{number}/") for number in range(3)]
    other = numbered(200, "t/")
    tested = world(*together(stale), *other, size=BIG - 1)
    for keys in stale:
        tested.read_all(keys[:5])
    assert tested.walks.size > ALL_BYTES - BIG
    given_up = []
    for key in other:
        tested.read(key)
        given_up += tested.walks.ended
        tested.walks.ended.clear()
    assert len(given_up) == 2
    assert tested.walks.size <= BYTES


@pytest.mark.parametrize(
    ("reach", "head"), [(256 * KIB, 256 * KIB), (64 * KIB, 64 * KIB), (60 * MIB, HEAD), (HEAD, HEAD)]
)
def test_of_big_files_only_as_much_as_was_read_of_the_one_before(reach: int, head: int) -> None:
    keys = numbered(100)
    tested = world(*keys, size=64 * MIB)
    sizes = set()
    for key in keys:
        version = tested.tree.version(key)
        visit = Visit(at(key), version)
        walk = tested.walks.read(visit)
        visit.has_read(0, min(reach, 256 * KIB))
        sizes |= {one.size for one in tested.walks.wanted(walk)}
        visit.has_read(visit.reach, reach)
    assert max(sizes) == head
    assert tested.walks.used == 98


def test_what_is_read_beyond_a_gap_is_no_head() -> None:
    visit = Visit(at("a"), ObjectVersion(at("a"), "1", 64 * MIB, 1))
    visit.has_read(0, 1000)
    visit.has_read(60 * MIB, 64 * MIB)
    assert visit.reach == 1000
    visit.has_read(500, 2000)
    assert visit.reach == 2000


def test_a_big_file_among_small_ones_is_left_to_its_reader() -> None:
    keys = numbered(20)
    tested = world(*keys)
    tested.tree.sizes[keys[10]] = 64 * MIB
    tested.read_all(keys)
    assert keys[10] not in tested.fetched
    assert keys[19] in tested.fetched


# -- the books -------------------------------------------------------------------------------


def test_what_there_was_no_room_for_is_wanted_again() -> None:
    keys = numbered(20)
    tested = world(*keys)
    tested.read(keys[0])
    walk = tested.walks.read(Visit(at(keys[1]), tested.tree.version(keys[1])))
    for wanted in tested.walks.wanted(walk):
        tested.walks.give_back(walk, wanted)
        break
    assert walk.size == 0
    assert [one.path.key for one in tested.walks.wanted(walk)] == keys[2:4]


def test_what_was_here_already_does_not_count() -> None:
    keys = numbered(200)
    tested = world(*keys)
    for key in keys:
        walk = tested.walks.read(Visit(at(key), tested.tree.version(key)))
        for wanted in tested.walks.wanted(walk):
            tested.walks.give_back(walk, wanted)
    assert (tested.walks.size, tested.walks.used, tested.walks.passed_over) == (0, 0, 0)
    assert walk.had == 200


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.JPG", "jpg"), ("a", ""), (".hidden", ""), ("a.tar.gz", "gz"), ("d.x/a", ""), ("a.", "")],
)
def test_suffix(name: str, suffix: str) -> None:
    assert suffix_of(at(name)) == suffix
