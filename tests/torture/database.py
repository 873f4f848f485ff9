"""A SQLite database that is changed and checked: as a process, for sqlite3 holds the interpreter.

python -m tests.torture.database write FILE ACKNOWLEDGED SEED SECONDS
python -m tests.torture.database check FILE ACKNOWLEDGED
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Final

MODES: Final = ("DELETE", "TRUNCATE", "PERSIST")
ROWS: Final = 300
"""From here on rows are deleted as well."""
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, data BLOB NOT NULL, sha1 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS done (one INTEGER PRIMARY KEY CHECK (one = 1), transactions INTEGER NOT NULL);
INSERT OR IGNORE INTO done VALUES (1, 0);
"""


def opened(file: Path, mode: str) -> sqlite3.Connection:
    """As safe as SQLite can be."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("PRAGMA cache_size = 20")  # pages spill into the file before the commit
    return connection


def transact(connection: sqlite3.Connection, dice: random.Random) -> int:
    """One transaction of a few changes; its number."""
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(dice.randint(1, 8)):
        data = dice.randbytes(dice.choice([10, 500, 4000, 30_000]))
        row = (dice.randrange(10_000), data, hashlib.sha1(data).hexdigest())
        connection.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", row)
    (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    if count > ROWS:
        connection.execute(
            "DELETE FROM rows WHERE number IN (SELECT number FROM rows LIMIT ?)", (count // 3,)
        )
    connection.execute("UPDATE done SET transactions = transactions + 1")
    (number,) = connection.execute("SELECT transactions FROM done").fetchone()
    connection.execute("COMMIT")
    return int(number)


def write(file: Path, acknowledged: Path, seed: int, seconds: float) -> None:
    """Every transaction whose COMMIT has returned is noted outside of the mount."""
    dice = random.Random(seed)
    end = time.monotonic() + seconds
    notes = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        connection = opened(file, dice.choice(MODES))
        connection.executescript(SCHEMA)
        while time.monotonic() < end:
            os.write(notes, b"%d\n" % transact(connection, dice))
        connection.close()
    except sqlite3.Error as error:
        print(f"the database is out of reach: {error}")


def check(file: Path, acknowledged: Path) -> int:
    """How many transactions there are. Raises AssertionError when the database is not what it must be."""
    lines = acknowledged.read_text().split() if acknowledged.exists() else []
    last = int(lines[-1]) if lines else 0
    if not file.exists():
        assert not last, f"the database is gone, {last} transactions had been committed"
        return 0
    connection = opened(file, "DELETE")
    found = connection.execute("PRAGMA integrity_check").fetchall()
    assert found == [("ok",)], found
    begun = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'done'").fetchone() == (1,)
    if not begun or connection.execute("SELECT count(*) FROM done").fetchone() == (0,):
        assert not last, f"the database is empty, {last} transactions had been committed"
        return 0
    for number, data, sha1 in connection.execute("SELECT number, data, sha1 FROM rows"):
        assert hashlib.sha1(data).hexdigest() == sha1, f"row {number} holds other bytes"
    (there,) = connection.execute("SELECT transactions FROM done").fetchone()
    connection.close()
    assert last <= there <= last + 1, f"{last} transactions had been committed, {there} are there"
    acknowledged.write_text(f"{there}\n")
    return int(there)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.database", description=__doc__)
    parser.add_argument("what", choices=("write", "check"))
    parser.add_argument("file", type=Path)
    parser.add_argument("acknowledged", type=Path)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("seconds", type=float, nargs="?", default=0)
    arguments = parser.parse_args()
    if arguments.what == "write":
        write(arguments.file, arguments.acknowledged, arguments.seed, arguments.seconds)
    else:
        print(check(arguments.file, arguments.acknowledged))


if __name__ == "__main__":
    main()
