"""Numbers are never reused, one live inode has a path, and nothing stays that nobody knows."""

from __future__ import annotations

import gc

import pytest

from b2mount.errors import NotFound
from b2mount.model import ObjectVersion
from b2mount.namespace.inode import InodeTable
from tests.namespace.world import DEFAULTS, a_directory, a_file, path


@pytest.fixture
def table() -> InodeTable:
    return InodeTable(path("top/"), a_directory(), DEFAULTS)


def test_the_root_is_number_one_and_stays(table: InodeTable) -> None:
    assert table.root.number == 1
    table.looked_up(table.root, 1)
    table.forget(1, 1)
    table.forget(1, 5)
    assert table.get(1) is table.root
    assert table.at(path("top/")) is table.root


def test_a_number_is_never_used_again(table: InodeTable) -> None:
    numbers = []
    for _ in range(5):
        inode = table.add(path("top/a"), a_file(), None)
        numbers.append(inode.number)
        del inode
        gc.collect()
        assert table.at(path("top/a")) is None
    assert len(set(numbers)) == 5


def test_what_the_kernel_knows_stays_until_it_forgets(table: InodeTable) -> None:
    number = table.add(path("top/a"), a_file(), None).number
    inode = table.add(path("top/b"), a_file(), None)
    table.looked_up(inode, 3)
    kept = inode.number
    del inode
    gc.collect()
    with pytest.raises(NotFound):
        table.get(number)
    table.forget(kept, 2)
    assert table.get(kept).lookups == 1
    table.forget(kept, 1)
    gc.collect()
    with pytest.raises(NotFound):
        table.get(kept)
    table.forget(kept, 1)
    table.forget(4711, 1)


def test_what_rests_is_what_it_was(table: InodeTable) -> None:
    version = ObjectVersion(path("top/a"), "some id", 7, 5, sha1="ab" * 20, info={"a": "b"})
    inode = table.add(path("top/a"), a_file(), version)
    for step in (inode.rest, inode.rest, inode.wake, inode.wake, inode.rest):
        step()
        assert inode.version == version
        assert inode.metadata.info == {"a": "b"}
    table.move(inode, path("top/b"))
    assert inode.version == version
    inode.version = None
    inode.rest()
    assert inode.version is None


def test_one_live_inode_for_a_path_whether_file_or_directory(table: InodeTable) -> None:
    file = table.add(path("top/a"), a_file(), None)
    directory = table.add(path("top/a/"), a_directory(), None)
    assert file.removed
    assert table.at(path("top/a")) is directory
    table.detach(file)
    assert table.at(path("top/a/")) is directory


def test_a_directory_takes_along_what_is_known_below(table: InodeTable) -> None:
    old = table.add(path("top/old/"), a_directory(), None)
    below = [table.add(path(f"top/old/{key}"), a_file(), None) for key in ("a", "b/c", "old/a")]
    near = table.add(path("top/older"), a_file(), None)
    table.move(old, path("top/new/"))
    assert [inode.path.key for inode in below] == ["top/new/a", "top/new/b/c", "top/new/old/a"]
    assert table.at(path("top/new/old/a")) is below[2]
    assert table.at(path("top/old/a")) is None
    assert near.path == path("top/older")
    assert table.at(path("top/older")) is near
