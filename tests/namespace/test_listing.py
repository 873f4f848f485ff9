"""Rows of a listing become entries: each name once, directories before files, oddities counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.model import Action, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.bucket_tree import BucketTree
from b2mount.namespace.listing import Listing, level_of
from b2mount.namespace.names import can_be_spelled
from b2mount.store.interface import ObjectPage
from tests.namespace.world import WatchedStore, path

DIRECTORY = ObjectPath("bucket", "d/")


def row(key: str, action: Action = Action.UPLOAD) -> ObjectVersion:
    return ObjectVersion(ObjectPath("bucket", key), f"id-{key}", 1, 1, action=action)


def shown(listing: Listing) -> dict[str, Kind]:
    return {name: entry.kind for name, entry in listing.entries.items()}


def test_a_page_becomes_entries_in_key_order() -> None:
    page = ObjectPage((row("d/b"), row("d/a.txt")), ("d/a/",), None)
    level = level_of(page, DIRECTORY)
    assert [(e.name, e.kind) for e in level.entries] == [
        ("a.txt", Kind.FILE),
        ("a", Kind.DIRECTORY),
        ("b", Kind.FILE),
    ]
    assert level.cursor is None


def test_what_keeps_a_directory_is_no_entry() -> None:
    level = level_of(ObjectPage((row("d/"), row("d/.bzEmpty")), (), None), DIRECTORY)
    assert level.entries == ()
    assert level.marker == row("d/")
    assert level.placeholder == row("d/.bzEmpty")
    listing = Listing()
    assert not listing.keeps_itself
    assert listing.absorb(level) == ()
    assert listing.keeps_itself


def test_what_no_path_can_spell_is_counted() -> None:
    objects = (row("d/a\0b"), row("d/.."), row("d/" + "x" * 256))
    level = level_of(ObjectPage(objects, ("d//", "d/./", "d/.bzEmpty/"), None), DIRECTORY)
    assert level.entries == ()
    assert len(level.odd) == 6


def test_a_key_that_begins_with_a_slash_is_odd_at_the_root() -> None:
    level = level_of(ObjectPage((row(""),), ("/",), None), ObjectPath("bucket", ""))
    assert (level.entries, level.marker, len(level.odd)) == ((), None, 2)


def test_hidden_and_unfinished_rows_are_nothing() -> None:
    page = ObjectPage((row("d/a", Action.HIDE), row("d/b", Action.START)), (), None)
    assert level_of(page, DIRECTORY).entries == ()


def test_a_directory_wins_over_a_file_pages_before_it() -> None:
    listing = Listing()
    assert listing.absorb(level_of(ObjectPage((row("d/a"), row("d/a!")), (), "d/a-"), DIRECTORY)) == ()
    assert shown(listing) == {"a!": Kind.FILE}
    assert listing.absorb(level_of(ObjectPage((row("d/a-1"),), (), "d/a-2"), DIRECTORY)) == ()
    assert not listing.knows("a")
    assert listing.absorb(level_of(ObjectPage((), ("d/a/",), "d/a0"), DIRECTORY)) == ("d/a",)
    assert listing.knows("a")
    assert not listing.knows("b")
    assert listing.absorb(level_of(ObjectPage((row("d/b"),), (), None), DIRECTORY)) == ()
    assert shown(listing) == {"a!": Kind.FILE, "a-1": Kind.FILE, "a": Kind.DIRECTORY, "b": Kind.FILE}
    assert listing.is_complete
    assert listing.size == 5


def test_a_next_key_outside_of_the_directory_ends_it() -> None:
    assert level_of(ObjectPage((row("d/a"),), (), "d0"), DIRECTORY).cursor is None


letters = st.text(st.sampled_from("ab-/.0"), min_size=1, max_size=4)


@given(keys=st.sets(letters.map("d/".__add__), max_size=25), rows=st.integers(1, 6))
async def test_pages_of_any_length_show_what_the_keys_say(keys: set[str], rows: int) -> None:
    store = WatchedStore(rows)
    for key in keys:
        store.add(key)
    tree, directory = BucketTree(store), path("d/")
    listing = Listing()
    while listing.cursor is not None:
        listing.absorb(await tree.page(directory, listing.cursor))
    firsts = [key[2:].partition("/")[:2] for key in keys]
    directories = {name for name, slash in firsts if slash and can_be_spelled(name)}
    files = {name for name, slash in firsts if not slash and can_be_spelled(name)} - directories
    assert {name for name, kind in shown(listing).items() if kind is Kind.DIRECTORY} == directories
    assert {name for name, kind in shown(listing).items() if kind is Kind.FILE} == files
    assert sorted(listing.names) == sorted(listing.entries)
    for name in ("a", "b", "a-", "ab", "-", "0", "a0"):
        entry = await tree.entry(directory, name)
        assert (entry.kind if entry else None) == shown(listing).get(name)
