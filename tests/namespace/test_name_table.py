"""Rows stay what they are, the same thing said again is the same row, and what nobody needs goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.model import Action, Entry, Kind, ObjectVersion
from b2mount.namespace.listing import Level, Listing
from b2mount.namespace.name_table import ROWS, Chunk, NameTable, Row
from tests.namespace.world import path

HERE = path("d/")


def a_file(name: str, version_id: str = "1", **fields: str) -> Entry:
    info = {"info": fields} if fields else {}
    version = ObjectVersion(HERE.file(name), version_id, 1, 1, **info)  # type: ignore[arg-type]  # each fits its field
    return Entry(name, Kind.FILE, version)


def a_directory(name: str) -> Entry:
    return Entry(name, Kind.DIRECTORY, None)


def listing_of(table: NameTable, *entries: Entry, cursor: str | None = None) -> Listing:
    listing = Listing(table=table)
    listing.absorb(Level(entries, None, None, (), cursor))
    return listing


entries = st.builds(
    lambda name, number, is_directory: a_directory(name) if is_directory else a_file(name, str(number)),
    st.text("abä\udc80", min_size=1, max_size=2),
    st.integers(0, 3),
    st.booleans(),
)


@given(said=st.lists(entries, max_size=400))
def test_a_name_has_one_current_row_and_old_rows_stay(said: list[Entry]) -> None:
    table = NameTable(directory=HERE)
    current: dict[str, tuple[Entry, Row]] = {}
    rows: list[tuple[Entry, Row]] = []
    for entry in said:
        row = table.put(entry)
        assert table.find(entry.name) == row
        assert table.is_current(row[0], entry.name)
        before = current.get(entry.name)
        if before is not None and before[0] == entry:
            assert before[1] == row
        rows.append((entry, row))
        current[entry.name] = entry, row
    for entry, (chunk, place) in rows:
        assert chunk.entry(place) == entry
        assert chunk.is_directory(place) == (entry.kind is Kind.DIRECTORY)
        assert len(chunk.names) == len(set(chunk.names)) <= ROWS
    for name, (_, row) in current.items():
        assert table.find(name) == row


def test_what_cant_be_packed_is_kept_whole() -> None:
    hidden = ObjectVersion(HERE.file("a"), "1", 0, 1, action=Action.HIDE)
    strange = (Entry("a", Kind.FILE, hidden), Entry("b", Kind.DIRECTORY, a_file("b").version))
    elsewhere = Entry("c", Kind.FILE, ObjectVersion(path("other/c"), "1", 1, 1))
    table = NameTable(directory=HERE)
    for entry in (*strange, a_file("x"), elsewhere):
        chunk, row = table.put(entry)
        assert chunk.entry(row) == entry
        assert table.put(entry) == (chunk, row)


def test_listings_that_say_the_same_share_rows() -> None:
    table = NameTable(directory=HERE)
    said = [a_file(f"{number:03}") for number in range(300)]
    one = listing_of(table, *said)
    said[150] = a_file("150", "2")
    two = listing_of(table, *said)
    assert list(two.names) == list(one.names) == [entry.name for entry in said]
    assert [two.entries[entry.name] for entry in said] == said
    assert [place for place in range(300) if one.row(place) != two.row(place)] == [150]
    assert one.entry_at(150) == a_file("150")


def test_a_listing_knows_only_what_it_was_told() -> None:
    table = NameTable(directory=HERE)
    listing_of(table, a_file("a"), a_file("b"))
    later = listing_of(table, a_file("a"), cursor="a0")
    assert later.entries.get("b") is None
    assert list(later.entries) == ["a"]
    assert not later.knows("b")


def test_chunks_that_neither_a_listing_nor_the_kernel_needs_go() -> None:
    left: list[str] = []
    table = NameTable(lambda chunk, row: left.append(chunk.names[row]), HERE)
    for number in range(2 * ROWS):
        table.put(a_file(f"{number:04}"))
    kept, gone = table.chunks
    kept.number(ROWS)
    kept.told(5, 1)
    gone.number(2 * ROWS)
    for _ in range(3):
        listing_of(table, a_file("0000"))
    assert table.chunks == [kept]
    assert sorted(left) == gone.names
    assert table.find(gone.names[0]) is None
    assert table.find("0005") == (kept, 5)


def test_a_row_that_is_an_inode_is_told_of_before_it_is_current_no_more() -> None:
    left: list[tuple[Chunk, int, bool]] = []

    def leave(chunk: Chunk, row: int) -> None:
        left.append((chunk, row, table.is_current(chunk, "a")))

    table = NameTable(leave, HERE)
    chunk, row = table.put(a_file("a"))
    table.put(a_file("a", "2"))
    assert not left
    chunk, row = table.put(a_file("a", "3"))
    chunk.number(ROWS)
    table.put(a_file("a", "3"))
    assert not left
    table.put(a_directory("a"))
    assert left == [(chunk, row, True)]


def test_counts_of_what_the_kernel_knows() -> None:
    chunk = Chunk()
    for name in "ab":
        chunk.add(a_file(name), None)
    chunk.number(ROWS)
    assert chunk.told(1, 2)
    assert not chunk.told(0, 1)
    assert not chunk.told(1, 1)
    assert not chunk.forget(1, 2)
    assert chunk.is_told(1)
    assert not chunk.forget(1, 5)
    assert (chunk.is_told(1), chunk.is_spent(1), chunk.is_spent(0), chunk.known) == (False, True, False, 1)
    assert chunk.forget(0, 1)
    chunk.number(2 * ROWS)
    assert not chunk.is_spent(1)
