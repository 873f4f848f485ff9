"""What is read back from the local disk, after another program, a crash or a failing disk had its way with
it: the journal, staged bytes, cached blocks and checksums, the index of names, usage, versions on record."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from pathlib import Path
from typing import Final

import trio
import trio.testing

from b2mount.errors import B2MountError, StoreFailure, Unavailable
from b2mount.namespace.name_index import NameIndex
from b2mount.store.ledger import Usage
from b2mount.store.usage_file import UsageFile
from b2mount.writing.leftovers import leftovers
from tests.filesystem.world import world
from tests.fuzz import hostile
from tests.fuzz.choices import Choices
from tests.fuzz.confined import confined
from tests.fuzz.target import Target, throws
from tests.fuzz.wire import InlineLane
from tests.namespace.lives import Machine
from tests.namespace.world import WatchedStore, inodes_in, names_of, path

COMMITTED: Final = {"one": b"first", "d/two": b"second" * 100}
UNSENT: Final = {"three": b"third", "d/four": b"fourth" * 50}
LONGEST: Final = 7200.0
DAY: Final = 86_400.0
VERSION: Final = {
    "path": ["bucket", "one"],
    "version_id": "4_zx",
    "size": 5,
    "uploaded_ms": 1000,
    "content_type": "text/plain",
    "sha1": None,
    "info": {"posix": "mode=100644"},
    "encryption": "none",
}
RECORDS: Final = {
    "moves": [json.dumps(VERSION), "bucket", "moved", 1000],
    "large_files": {
        "staging_id": "one",
        "path": ["bucket", "one"],
        "content_type": "b2/x-auto",
        "info": {},
        "layout": "streamed",
        "contents": "",
        "setting": "",
    },
    "exchanges": {
        "swaps": [[json.dumps(VERSION), "bucket", "new", None, True]],
        "failed_ms": None,
        "copies": ["4_zy"],
    },
}


class Away(WatchedStore):
    """Out of reach for uploads, until `is_back`."""

    is_back = True

    async def put(self, *args, **kwargs):
        if not self.is_back:
            raise Unavailable("out of reach")
        return await super().put(*args, **kwargs)


def _store() -> Away:
    store = Away()
    for name, data in COMMITTED.items():
        store.seed(path(name), data)
    return store


@functools.cache
def _left_behind() -> dict[str, bytes]:
    """The files of a mount that read everything and was ended with unsent files."""
    found: dict[str, bytes] = {}

    async def main(place: Path) -> None:
        store = _store()
        async with world(store, place, waits=False, lane=InlineLane("disk", 4), delay=100) as live:
            for name in COMMITTED:
                await live.read(name)
            store.is_back = False
            for name, data in UNSENT.items():
                await live.write(name, data)
        index = _index(place)
        await index.open()
        names = names_of(store, ttl=DAY, index=index)
        for inode in await inodes_in(names, names.root):
            if inode.is_directory:
                await inodes_in(names, inode)
        await index.close()

    with confined() as place:
        (place / "index").mkdir()
        trio.run(main, place, clock=trio.testing.MockClock(autojump_threshold=0))
        for each in sorted(place.rglob("*")):
            if each.is_file():
                found[str(each.relative_to(place))] = each.read_bytes()
    assert any("journal" in name for name in found)
    assert any(name.endswith(".blocks") for name in found)
    return found


def _index(place: Path) -> NameIndex:
    return NameIndex(place / "index", "", path(""), DAY, InlineLane("disk", 4), Machine().now)


def disk(data: bytes) -> None:
    """A mount with such a directory starts, or says why not; what it then says of files in B2 is right."""
    choices, files = Choices(data), _left_behind()
    with confined() as place:
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        for _ in range(choices.below(3)):
            _damage(choices, place)
        if choices.chance(2) or choices.is_over:
            _rewrite(choices, place / "journal.sqlite3")
        leftovers(place.parent)
        trio.run(_mount, place, clock=trio.testing.MockClock(autojump_threshold=0))


def _damage(choices: Choices, place: Path) -> None:
    """One file loses, gains or changes bytes, or is something else altogether."""
    file = place / choices.of(sorted(_left_behind()))
    if not file.is_file():
        return
    content = bytearray(file.read_bytes())
    at = choices.below(len(content) + 1)
    match choices.below(6):
        case 0:
            del content[at:]
        case 1:
            content[at : at + 4096] = bytes(len(content[at : at + 4096]))
        case 2:
            piece = choices.piece()
            content[at : at + len(piece)] = piece
        case 3:
            content[at:at] = choices.piece()
        case 4:
            content = bytearray(choices.piece())
        case _:
            file.unlink()
            if choices.chance(2):
                file.mkdir()
            return
    file.write_bytes(content)


def _rewrite(choices: Choices, journal: Path) -> None:
    """Records of the journal say something else, in good SQL."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(journal)) as connection:
        for number, text in connection.execute("SELECT rowid, record FROM files").fetchall():
            try:
                record = json.loads(text)
            except (TypeError, ValueError):
                continue  # damaged already
            said = _said(choices, hostile.spoiled(choices, record))
            connection.execute("UPDATE files SET record = ? WHERE rowid = ?", (said, number))
        move, large, exchange = (hostile.spoiled(choices, record) for record in RECORDS.values())
        if isinstance(move, list) and len(move) == 4:
            sql = "INSERT INTO moves (version, bucket, key, begun_ms) VALUES (?, ?, ?, ?)"
            values = [v if isinstance(v, str | int) and abs(hash(v)) < 2**62 else str(v) for v in move]
            with contextlib.suppress(OverflowError, UnicodeError):
                connection.execute(sql, values)
        connection.execute("INSERT INTO large_files VALUES ('4_zl', 'one', ?)", (_said(choices, large),))
        connection.execute("INSERT INTO exchanges VALUES ('e', ?)", (_said(choices, exchange),))
        connection.commit()


def _said(choices: Choices, document: object) -> str:
    return hostile.as_json(choices, document).decode("utf-8", "replace")


async def _mount(place: Path) -> None:
    store = _store()
    with trio.fail_after(LONGEST):
        try:
            async with world(store, place, lane=InlineLane("disk", 4), keep=1) as live:
                for name, expected in COMMITTED.items():
                    with contextlib.suppress(B2MountError, OSError):
                        # a record may well have made another file of it, which is not sent yet
                        got = await live.read(name)
                        assert live.fs.pending() or got in (expected, store.contents().get(name))
                with contextlib.suppress(B2MountError, OSError):
                    await live.fs.flush_path()
        except* (StoreFailure, OSError) as group:
            # the journal is broken: nothing but that may keep a mount from starting
            assert all(_is_of_journal(error) for error in group.exceptions), group
        index = _index(place)
        await index.open()
        names = names_of(store, ttl=DAY, index=index)
        for inode in await inodes_in(names, names.root):
            assert inode.path.key
        await index.close()


def _is_of_journal(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_of_journal(one) for one in error.exceptions)
    return isinstance(error, OSError) or "journal" in str(error)


def usage(data: bytes) -> None:
    """usage.json, of this mount and of others; and what is counted on from there."""
    choices = Choices(data)
    with confined() as place:
        (place / "a").mkdir()
        file = UsageFile(place / "a", "account")
        good = {
            "format": 1,
            "account": file._account,
            "periods": {
                period: {"number": 5, "usage": {"calls": {"b2_hide_file": 3}, "bytes_down": 5, "bytes_up": 7}}
                for period in ("hour", "day", "month")
            },
        }
        (place / "a" / "usage.json").write_bytes(hostile.as_json(choices, hostile.spoiled(choices, good)))
        for dated in file.read().values():
            assert isinstance(dated.usage, Usage)
        UsageFile(place / "b", "account").read_others()


TARGETS: Final = (
    Target("disk", disk, throws("disk", 8, 200)),
    Target("usage", usage, throws("usage", 24, 100)),
)
