"""A bucket as of a moment is what a replay of its history up to then gives, however long the pages are."""

from __future__ import annotations

import random
from collections.abc import Iterator

import attrs
import pytest

from b2mount.errors import StoreFailure
from b2mount.model import Action, Entry, Kind, ObjectMetadata, ObjectVersion
from b2mount.namespace.history import Reading, Rule, as_of, trashed
from b2mount.namespace.history_tree import HistoryTree
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import VersionCursor, VersionPage
from tests.fakes.memory_store import MemoryStore, literal
from tests.namespace.world import DEFAULTS, inodes_in, path

NAMES = ("a", "a-1", "a b", "b", "c", "c.txt", "\u00e9", ".bzEmpty")


class PagedStore(MemoryStore):
    """Gives short pages, and counts them."""

    def __init__(self, page_rows: int = 1000) -> None:
        self.moment = 1_000_000
        super().__init__("bucket", now_ms=lambda: self.moment, minimum_part_size=1)
        self.page_rows = page_rows
        self.pages = 0

    async def list_versions(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        start: VersionCursor | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        self.pages += 1
        rows = min(limit, self.page_rows)
        return await super().list_versions(bucket, prefix, delimiter=delimiter, start=start, limit=rows)


@attrs.define
class History:
    """Random changes of a bucket, and what it showed after each."""

    store: PagedStore
    chance: random.Random
    rows: list[ObjectVersion] = attrs.field(factory=list)
    """Uploads and hide markers that are still there, in the order of their times."""
    unfinished: list[tuple[object, ObjectVersion]] = attrs.field(factory=list)

    def key(self) -> str:
        return "/".join(
            [*self.chance.choices(NAMES[:-1], k=self.chance.randrange(3)), self.chance.choice(NAMES)]
        )

    async def step(self) -> None:
        self.store.moment += self.chance.choice((0, 1, 5, 1000))
        kind = self.chance.random()
        if kind < 0.55:
            self.rows.append(self.store.seed(path(self.key())))
        elif kind < 0.85 and self.rows:
            await self.hide(self.chance.choice(self.rows).path.key)
        elif kind < 0.9:
            await self.large()
        elif kind < 0.97 and self.rows:
            row = self.rows.pop(self.chance.randrange(len(self.rows)))
            await self.store.delete_version(row)

    async def hide(self, key: str) -> None:
        before = {version.version_id for version in await self.versions(key)}
        await self.store.hide(path(key))
        new = [version for version in await self.versions(key) if version.version_id not in before]
        self.rows += new

    async def large(self) -> None:
        """It is dated from its start, and there when it is finished."""
        upload = await self.store.start_multipart(path(self.key()), ObjectMetadata())
        for number in (1, 2):
            part = await self.store.put_part(upload, number, literal(b"x"))
        if self.chance.random() < 0.7:
            self.store.moment += 1000
            self.rows.append(await self.store.finish_multipart(upload, [part.sha1] * 2))
            self.rows.sort(key=lambda row: row.uploaded_ms)

    async def versions(self, key: str) -> list[ObjectVersion]:
        page = await MemoryStore.list_versions(self.store, "bucket", key, limit=10_000)
        return [version for version in page.versions if version.path.key == key]

    def shown_at(self, moment: int) -> dict[str, ObjectVersion]:
        state: dict[str, ObjectVersion] = {}
        for row in self.rows:
            if row.uploaded_ms <= moment:
                state[row.path.key] = row
        return {key: row for key, row in sorted(state.items()) if row.action is Action.UPLOAD}

    def in_trash(self) -> dict[str, ObjectVersion]:
        newest: dict[str, ObjectVersion] = {}
        below: dict[str, ObjectVersion] = {}
        for row in self.rows:
            newest[row.path.key] = row
            if row.action is Action.UPLOAD:
                below[row.path.key] = row
        return {key: below[key] for key, row in newest.items() if row.action is Action.HIDE and key in below}


async def made(seed: int, steps: int, page_rows: int) -> History:
    history = History(PagedStore(page_rows), random.Random(seed))
    for _ in range(steps):
        await history.step()
    return history


def names_of(store: PagedStore, rule: Rule) -> Namespace:
    return Namespace(HistoryTree(store, rule), path(""), defaults=DEFAULTS, ttl=60, max_names=100_000)


async def walked(names: Namespace, directory: Inode) -> dict[str, str | None]:
    """Every path below a directory, with its version id; None for a directory."""
    found: dict[str, str | None] = {}
    for inode in await inodes_in(names, directory):
        assert await names.lookup(directory, inode.path.name) is inode
        if inode.is_directory:
            found[inode.path.key] = None
            found |= await walked(names, inode)
        else:
            assert inode.version is not None
            found[inode.path.key] = inode.version.version_id
    return found


def expected(shown: dict[str, ObjectVersion]) -> dict[str, str | None]:
    """A directory goes before a file of its name; a placeholder shows its directory alone."""
    directories = {key[: at + 1] for key in shown for at in range(len(key)) if key[at] == "/"}
    files = {
        key: version.version_id
        for key, version in shown.items()
        if not key.endswith(".bzEmpty") and f"{key}/" not in directories
    }
    return {**dict.fromkeys(directories), **files}


@pytest.mark.parametrize(
    ("seed", "page_rows", "moments"), [(1, 1000, 200), (2, 7, 6), (3, 1, 2), (4, 40, 10)]
)
async def test_a_moment_is_what_a_replay_gives(seed: int, page_rows: int, moments: int) -> None:
    history = await made(seed, 2000 if page_rows > 7 else 500, page_rows)
    times = sorted({row.uploaded_ms for row in history.rows})
    chosen = history.chance.sample(times, moments)
    for moment in [*chosen, *(one - 1 for one in chosen), times[0] - 1, times[-1]]:
        names = names_of(history.store, as_of(moment))
        assert await walked(names, names.root) == expected(history.shown_at(moment)), moment


@pytest.mark.parametrize(("seed", "page_rows"), [(5, 1000), (6, 7), (7, 1)])
async def test_the_trash_is_what_is_hidden(seed: int, page_rows: int) -> None:
    history = await made(seed, 600, page_rows)
    names = names_of(history.store, trashed)
    assert await walked(names, names.root) == expected(history.in_trash())


@pytest.mark.parametrize("page_rows", [1, 3, 1000])
async def test_a_page_at_a_time_and_a_name_at_a_time(page_rows: int) -> None:
    """As big directories are read, which no single page holds."""
    history = await made(8, 400, page_rows)
    moment = history.rows[200].uploaded_ms
    shown = history.shown_at(moment)
    tree = HistoryTree(history.store, as_of(moment))
    for directory in ("", "a/", "b/", "nowhere/"):
        entries: dict[str, Entry] = {}
        cursor: str | None = ""
        while cursor is not None:
            level = await tree.page(path(directory), cursor)
            for entry in level.entries:
                if entry.kind is Kind.DIRECTORY or entry.name not in entries:
                    entries[entry.name] = entry
            cursor = level.cursor
        found = {
            f"{directory}{name}{'/' if entry.kind is Kind.DIRECTORY else ''}": (
                entry.version.version_id if entry.version else None
            )
            for name, entry in entries.items()
        }
        wanted = {
            key: version_id
            for key, version_id in expected(shown).items()
            if key.startswith(directory)
            and "/" not in key[len(directory) :].removesuffix("/")
            and key != directory
        }
        assert found == wanted
        for name in NAMES:
            assert await tree.entry(path(directory), name) == entries.get(name)
        below = [version for key, version in sorted(shown.items()) if key.startswith(directory)]
        assert await tree.subtree(path(directory)) == below


async def test_ten_thousand_versions_of_one_name_end() -> None:
    store = PagedStore(page_rows=100)
    first = store.seed(path("d/a"))
    for _ in range(1050):
        store.seed(path("d/b"))
    last = store.seed(path("d/c"))
    tree = HistoryTree(store, as_of(first.uploaded_ms))
    assert await tree.subtree(path("")) == [first]
    assert store.pages <= 14
    assert [
        version.path.key for version in await HistoryTree(store, as_of(last.uploaded_ms)).subtree(path(""))
    ] == [
        "d/a",
        "d/b",
        "d/c",
    ]


async def test_a_small_directory_costs_one_request() -> None:
    store = PagedStore()
    for number in range(20):
        store.seed(path(f"d/{number % 5}/{number}"))
    names = names_of(store, as_of(store.moment + 100))
    await walked(names, names.root)
    assert store.pages == 1


@pytest.mark.parametrize("within", ["d/na", "d/name"])
async def test_a_key_for_names_that_begin_so_asks_for_no_others(within: str) -> None:
    store = PagedStore()
    for key in ("a", "d/m", "d/name", "d/name2/x", "d/z/y"):
        store.seed(path(key))
    tree = HistoryTree(store, as_of(store.moment + 100), within)
    level = await tree.page(path("d/"), "")
    assert [entry.name for entry in level.entries] == ["name", "name2"]
    found = {name: await tree.entry(path("d/"), name) for name in ("m", "n", "name", "name2", "z")}
    assert [name for name, entry in found.items() if entry] == ["name", "name2"]


def rows_of(*rows: tuple[str, int, Action]) -> Iterator[ObjectVersion]:
    for number, (key, moment, action) in enumerate(rows):
        yield ObjectVersion(path(key), f"id-{number}", 0, moment, action=action)


def test_borders() -> None:
    """To the millisecond, and of one millisecond what the list has first."""
    up, hide, start = Action.UPLOAD, Action.HIDE, Action.START
    rows = list(
        rows_of(
            ("both", 7, hide), ("both", 7, up),
            ("edge", 8, up), ("edge", 7, up), ("edge", 7, up), ("edge", 6, hide),
            ("large", 9, start), ("large", 3, up),
            ("late", 8, up),
            ("only-hidden", 5, hide),
            ("only-started", 5, start),
            ("twice-hidden", 6, hide), ("twice-hidden", 5, hide), ("twice-hidden", 4, up),
        )
    )  # fmt: skip
    shown = {version.version_id for version in Reading(as_of(7)).take(rows)}
    assert shown == {"id-3", "id-7"}
    assert [version.version_id for version in Reading(as_of(4)).take(rows)] == ["id-7", "id-13"]
    assert [version.version_id for version in Reading(trashed).take(rows)] == ["id-1", "id-13"]
    in_pieces = Reading(as_of(7))
    assert {version.version_id for row in rows for version in in_pieces.take([row])} == shown


class DeafStore(PagedStore):
    """Begins every page with the first name, wherever it is asked to, and says another one comes next."""

    async def list_versions(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        start: VersionCursor | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        page = await super().list_versions(bucket, prefix, delimiter=delimiter, limit=limit)
        assert self.pages < 20
        return attrs.evolve(page, next_cursor=VersionCursor("b", f"{self.pages}"))


async def test_a_list_of_versions_that_does_not_advance_is_an_error() -> None:
    store = DeafStore()
    store.seed(path("a"), b"")
    tree = HistoryTree(store, trashed)
    with pytest.raises(StoreFailure):
        await tree.subtree(path(""))
    with pytest.raises(StoreFailure):
        await tree.entry(path(""), "b")
