"""Standard tools on a mount: each does its work, and B2 holds the same names and bytes when it is done."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from b2sdk.v3 import CopySource

from tests.mounted.bucket import RemoteBucket, sha1_of
from tests.mounted.conftest import Folder, MountMaker
from tests.mounted.harness import Mount
from tests.mounted.trees import assert_same_bytes, assert_same_trees, make_tree, sha1s
from tests.programs import building, editors, python_files, trees

pytestmark = pytest.mark.kernel

MIB = 1 << 20


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of 500 files on the local disk."""
    root = tmp_path_factory.mktemp("source") / "tree"
    make_tree(root)
    return root


def test_cp_takes_a_tree_in_and_out(folder: Folder, source: Path, tmp_path: Path) -> None:
    folder.run("cp", "-a", source, folder.path / "in")
    assert folder.run("diff", "-r", "--no-dereference", source, folder.path / "in") == ""
    assert folder.files("in/") == sha1s(source)
    folder.run("cp", "-a", folder.path / "in", tmp_path / "out")
    assert folder.run("diff", "-r", "--no-dereference", source, tmp_path / "out") == ""
    assert_same_trees(source, tmp_path / "out")


def test_rsync_sends_everything_once(folder: Folder, source: Path) -> None:
    command = ["rsync", "-a", "--out-format=%i %n", f"{source}/", f"{folder.path}/copy/"]
    assert folder.run(*command).count("\n") > 500
    assert_same_trees(source, folder.path / "copy")
    assert folder.run(*command) == ""
    assert folder.run(*command[:2], "--checksum", *command[2:]) == ""
    assert folder.files("copy/") == sha1s(source)


def test_rsync_changes_a_file_in_place(folder: Folder, tmp_path: Path) -> None:
    local, remote = tmp_path / "file", folder.path / "file"
    local.write_bytes(random.Random(1).randbytes(2 * MIB))
    folder.run("cp", local, remote)
    with local.open("r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    folder.run("rsync", "--inplace", "--no-whole-file", "--checksum", local, remote)
    assert remote.read_bytes() == local.read_bytes()
    assert folder.files() == {"file": sha1_of(local.read_bytes())}


def test_tar_unpacks_and_packs(folder: Folder, source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tree.tar"
    folder.run("tar", "-c", "--format=pax", "-f", archive, "tree", cwd=source.parent)
    folder.run("tar", "-x", "-f", archive, cwd=folder.path)
    assert_same_trees(source, folder.path / "tree")
    assert folder.files("tree/") == sha1s(source)
    folder.run("tar", "-c", "-S", "-z", "-f", folder.path / "again.tar.gz", "tree", cwd=folder.path)
    folder.run("tar", "-d", "-f", folder.path / "again.tar.gz", cwd=source.parent)


def test_git_clones_commits_and_is_sound(folder: Folder, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    make_tree(origin, 60)
    git = ["git", "-c", "init.defaultBranch=main", "-c", "gc.auto=0"]
    folder.run(*git, "init", "--quiet", origin)
    folder.run(*git, "add", "--all", cwd=origin)
    folder.run(*git, "commit", "--quiet", "-m", "first", cwd=origin)
    clone = folder.path / "clone"
    folder.run(*git, "clone", "--quiet", "--no-hardlinks", origin, clone)
    (clone / "new file").write_text("something\n")
    folder.run(*git, "mv", "big.bin", "moved.bin", cwd=clone)
    folder.run(*git, "add", "--all", cwd=clone)
    folder.run(*git, "commit", "--quiet", "-m", "second", cwd=clone)
    assert folder.run(*git, "status", "--porcelain", cwd=clone) == ""
    folder.run(*git, "fsck", "--full", "--strict", cwd=clone)
    folder.run(*git, "gc", "--quiet", "--prune=now", cwd=clone)
    folder.run(*git, "fsck", "--full", "--strict", cwd=clone)
    folder.run(*git, "push", "--quiet", "origin", "HEAD:refs/heads/other", cwd=clone)
    assert folder.run(*git, "log", "--format=%s", "other", cwd=origin) == "second\nfirst\n"
    in_b2 = folder.files("clone/")
    assert in_b2 == sha1s(clone)
    assert not [name for name in in_b2 if name.endswith(".lock")]


SQLITE = """
import contextlib, sqlite3, sys
path, journal = sys.argv[1:]
with contextlib.closing(sqlite3.connect(path)) as database:
    assert database.execute(f"PRAGMA journal_mode = {journal}").fetchone() == (journal,)
    database.execute("CREATE TABLE words (number INTEGER PRIMARY KEY, word TEXT)")
    rows = [(number, f"word {number}" * 5) for number in range(2000)]
    database.executemany("INSERT INTO words VALUES (?, ?)", rows)
    database.commit()
    for number in range(0, 2000, 100):
        database.execute("UPDATE words SET word = 'changed' WHERE number = ?", (number,))
        database.commit()
    database.execute("DELETE FROM words WHERE number % 3 = 0")
    database.rollback()
"""


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist", "wal"])
def test_sqlite_creates_and_changes_a_database(folder: Folder, tmp_path: Path, journal: str) -> None:
    path = folder.path / "data.db"
    folder.run("python", "-c", SQLITE, path, journal)
    question = "SELECT count(*), sum(word = 'changed') FROM words; PRAGMA integrity_check;"
    assert folder.run("sqlite3", path, question) == "2000|20\nok\n"
    copy = tmp_path / "copy.db"
    copy.write_bytes(folder.home.bucket.read(folder.prefix + "data.db"))
    assert folder.run("sqlite3", copy, question) == "2000|20\nok\n"
    assert folder.files()["data.db"] == sha1_of(path.read_bytes())


def test_sqlite_in_two_processes(folder: Folder) -> None:
    path = folder.path / "data.db"
    folder.run("sqlite3", path, "CREATE TABLE t (i INTEGER);")
    insert = "PRAGMA busy_timeout = 20000;" + "INSERT INTO t VALUES (1);" * 20
    both = [folder.home.programs.start(["sqlite3", path, insert]) for _ in range(2)]
    assert [folder.home.programs.finish(process)[0] for process in both] == [0, 0]
    assert folder.run("sqlite3", path, "SELECT count(*) FROM t; PRAGMA integrity_check;") == "40\nok\n"


def test_sed_edits_in_place(folder: Folder) -> None:
    path = folder.path / "text"
    path.write_text("one\ntwo\n" * 500)
    path.chmod(0o640)
    folder.run("sed", "-i", "s/two/three/", path)
    assert path.read_text() == "one\nthree\n" * 500
    assert path.stat().st_mode & 0o777 == 0o640
    assert folder.files() == {"text": sha1_of(b"one\nthree\n" * 500)}


def test_vi_edits_a_file(folder: Folder) -> None:
    path = folder.path / "text"
    path.write_text("alpha\nbeta\n")
    folder.run("vi", "-e", "-s", "-c", "%s/beta/gamma/", "-c", "wq", path)
    assert path.read_text() == "alpha\ngamma\n"
    assert folder.files() == {"text": sha1_of(b"alpha\ngamma\n")}


def test_mv_moves_files_and_directories(folder: Folder, source: Path) -> None:
    folder.run("cp", "-a", source / "folder 1", folder.path / "old")
    folder.run("mv", folder.path / "old", folder.path / "new")
    assert_same_trees(source / "folder 1", folder.path / "new")
    assert folder.files("new/") == sha1s(source / "folder 1")
    assert folder.files("old/") == {}
    (folder.path / "a").write_text("a")
    (folder.path / "b").write_text("b")
    folder.run("mv", "--no-clobber", folder.path / "a", folder.path / "b")
    assert (folder.path / "b").read_text() == "b"
    folder.run("mv", "--force", folder.path / "a", folder.path / "b")
    folder.run("mv", folder.path / "b", folder.path / "new")
    assert sorted(os.listdir(folder.path)) == ["new"]
    assert (folder.path / "new" / "b").read_text() == "a"


def test_mv_between_the_mount_and_the_local_disk(folder: Folder, source: Path, tmp_path: Path) -> None:
    folder.run("cp", "-a", source / "folder 2", tmp_path / "tree")
    folder.run("mv", tmp_path / "tree", folder.path / "tree")
    assert not (tmp_path / "tree").exists()
    assert_same_trees(source / "folder 2", folder.path / "tree")
    folder.run("mv", folder.path / "tree", tmp_path / "back")
    assert_same_trees(source / "folder 2", tmp_path / "back")
    assert folder.files() == {}


def test_rm_find_and_du(folder: Folder, source: Path) -> None:
    tree = folder.path / "tree"
    folder.run("cp", "-a", source, tree)
    for question in (["-type", "f"], ["-type", "d"], ["-type", "l"], ["-size", "+1000k"], ["-perm", "600"]):
        found = [folder.run("find", ".", *question, cwd=root).splitlines() for root in (source, tree)]
        assert sorted(found[0]) == sorted(found[1])
    sizes = [folder.run("du", "-b", "-a", "--exclude=folder*", root).split() for root in (source, tree)]
    assert {word for word in sizes[0] if word.isdecimal()} >= {"3000000"}
    assert "3000000" in sizes[1]
    assert int(folder.run("du", "-s", "-k", tree).split()[0]) >= 5000
    folder.run("rm", "-r", tree / "folder 1", tree / "big.bin")
    assert not (tree / "folder 1").exists()
    folder.run("rm", "-r", tree)
    assert os.listdir(folder.path) == []
    assert folder.files() == {}


def test_dd_and_truncate(folder: Folder) -> None:
    path = folder.path / "image"
    folder.run("truncate", "--size=10M", path)
    folder.run("dd", "if=/dev/urandom", f"of={path}", "bs=64k", "count=3", "seek=20", "conv=notrunc,fsync")
    data = path.read_bytes()
    assert len(data) == 10 * MIB
    assert data[: 20 * 65536].count(0) == 20 * 65536
    assert data[23 * 65536 :].count(0) == 10 * MIB - 23 * 65536
    assert folder.files() == {"image": sha1_of(data)}


SEEKER = """
import hashlib, mmap, random, sys
dice, total = random.Random(7), hashlib.sha1()
with open(sys.argv[1], "rb") as file:
    assert file.seek(0, 2) == 1 << 30
    for _ in range(150):
        file.seek(dice.randrange(1 << 30))
        total.update(file.read(5000))
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        for _ in range(50):
            start = dice.randrange(1 << 30)
            total.update(view[start:start + 5000])
print(total.hexdigest())
"""


def giant(bucket: RemoteBucket, key: str) -> bytes:
    """Puts 1 GiB together inside B2, of overlapping ranges of what is returned: MiB number n of part number
    p is that of number n + p."""
    seed = random.Random(3).randbytes(64 * MIB)
    version = bucket.put(f"{key}.seed", seed)
    parts = [CopySource(version, offset=part * MIB, length=32 * MIB) for part in range(32)]
    bucket.bucket.concatenate(parts, key)
    return seed


def test_python_seeks_in_a_gibibyte(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    seed = giant(bucket, "giant")
    mount = make_mount(bucket=bucket)
    found = mount.programs.run("python", "-c", SEEKER, mount.path / "giant", timeout=100)
    local = mount.place.root / "giant"
    with local.open("wb") as file:
        for part in range(32):
            file.write(seed[part * MIB : (part + 32) * MIB])
    assert found == mount.programs.run("python", "-c", SEEKER, local)
    local.unlink()


def test_the_b2_tool_sees_names_bytes_and_sha1s_after_each_close(mount: Mount, tmp_path: Path) -> None:
    names = ["plain", "with space", "ümläut+%25&?", "directory/below"]
    (mount.path / "directory").mkdir()
    contents = {name: random.Random(name).randbytes(100_000) for name in names}
    for name, data in contents.items():
        (mount.path / name).write_bytes(data)
        place = f"b2://{mount.bucket.name}/{name}"
        listed = json.loads(mount.b2("ls", "--json", place))
        assert [(row["fileName"], row["size"], row["contentSha1"]) for row in listed] == [
            (name, len(data), sha1_of(data))
        ]
        mount.b2("file", "download", "--quiet", place, str(tmp_path / "down"))
        assert_same_bytes((tmp_path / "down").read_bytes(), data)
    (mount.path / "plain").unlink()
    listed = mount.b2("ls", "--recursive", f"b2://{mount.bucket.name}").splitlines()
    assert sorted(listed) == sorted({*names, "directory/.bzEmpty"} - {"plain"})


def test_rsync_and_tar_keep_owners_modes_attributes_and_kinds(folder: Folder, tmp_path: Path) -> None:
    source, copy, back = tmp_path / "source", folder.path / "copy", tmp_path / "back"
    trees.make_tree(source, directories=5, files=3)
    command = ["rsync", "-aHAX", "--numeric-ids", "--out-format=%i %n", f"{source}/", f"{copy}/"]
    assert folder.run(*command).count("\n") > 20
    assert folder.run(*command) == ""
    trees.assert_same(copy, source)
    archive = folder.path / "tree.tar"
    folder.run("tar", "-c", "--format=posix", "--numeric-owner", "--xattrs", "-f", archive, ".", cwd=copy)
    back.mkdir()
    folder.run("tar", "-x", "-p", "--same-owner", "--numeric-owner", "--xattrs", "-f", archive, cwd=back)
    trees.assert_same(back, source)


def test_make_builds_once(folder: Folder) -> None:
    project = folder.path / "project"
    building.make_project(project, modules=3)
    assert folder.run("make", cwd=project).count("-c -o module") == 3
    assert "up to date" in folder.run("make", cwd=project)
    assert folder.run(project / "program") == "3\n"
    folder.run("touch", project / "module2.c")
    assert folder.run("make", cwd=project).count("-c -o module") == 1


def test_install_replaces_a_file_with_another_of_given_owner_and_mode(folder: Folder, tmp_path: Path) -> None:
    editors.install(folder.run, folder.path, tmp_path)
    assert folder.files().keys() == {"deep/down/installed", "deep/down/installed.old", "plain"}


def test_vi_with_backup_and_swap_files(folder: Folder) -> None:
    path = folder.path / "text"
    for copies in ("yes", "no"):
        path.write_text("alpha\nbeta\n")
        settings = f"set backup backupskip= backupcopy={copies} {editors.PLACES}"
        folder.run(
            *("vi", "-N", "-u", "NONE", "-i", "NONE", "-e", "-s", "--cmd", settings),
            *("-c", "%s/beta/gamma/", "-c", "preserve", "-c", "wq", "text"),
            cwd=folder.path,
        )
        assert path.read_text() == "alpha\ngamma\n"
        assert (folder.path / "text~").read_text() == "alpha\nbeta\n"
        assert sorted(os.listdir(folder.path)) == ["text", "text~"]


def test_python_copies_trees_and_shares_memory(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    trees.make_tree(source, directories=3, files=3)
    folder.run("python", "-c", python_files.COPY, source, folder.path / "inside", tmp_path / "back")
    sha1 = folder.run("python", "-c", python_files.MMAP, folder.path / "mapped").strip()
    assert folder.files() == {"mapped": sha1, "inside.zip": folder.files()["inside.zip"]}
