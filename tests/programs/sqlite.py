"""SQLite in all journal modes, with two writers at a time."""

from __future__ import annotations

import sys

from tests.programs.ground import Check, Ground

WRITER = """
import contextlib, random, sqlite3, sys
path, journal, name = sys.argv[1:]
dice = random.Random(name)
with contextlib.closing(sqlite3.connect(path, timeout=120, isolation_level=None)) as database:
    database.execute(f"PRAGMA journal_mode = {journal}")
    database.execute("CREATE TABLE IF NOT EXISTS words (name TEXT, number INTEGER, word BLOB)")
    for number in range(40):
        database.execute("BEGIN IMMEDIATE")
        for _ in range(5):
            row = (name, number, dice.randbytes(dice.choice([10, 1000, 20000])))
            database.execute("INSERT INTO words VALUES (?, ?, ?)", row)
        database.execute("COMMIT" if number % 4 else "ROLLBACK")
"""
QUESTION = "SELECT name, count(*), count(DISTINCT number) FROM words GROUP BY name; PRAGMA integrity_check;"
ANSWER = "a|150|30\nb|150|30\nok\n"


def two_writers(ground: Ground) -> None:
    for journal in ("delete", "truncate", "persist", "wal"):
        path = ground.path / f"{journal}.db"
        words = (sys.executable, "-c", WRITER, str(path), journal)
        both = [ground.mount.programs.start([*words, name]) for name in "ab"]
        for process in both:
            code, output = ground.mount.programs.finish(process, 200)
            assert code == 0, output
        assert ground.run("sqlite3", path, QUESTION) == ANSWER
        ground.run("sqlite3", path, "DELETE FROM words WHERE name = 'b' AND number < 0; VACUUM;")
    ground.remount()
    for journal in ("delete", "truncate", "persist", "wal"):
        path = ground.path / f"{journal}.db"
        assert ground.run("sqlite3", path, QUESTION) == ANSWER
        ground.run("sqlite3", path, "PRAGMA wal_checkpoint(TRUNCATE); REINDEX; PRAGMA integrity_check;")


CHECKS = (Check("sqlite", two_writers, ("sqlite3",), ("sqlite3",)),)
