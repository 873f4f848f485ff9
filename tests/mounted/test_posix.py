"""What POSIX promises of a file system, and the errors it wants, on the mount."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.mounted.conftest import Folder
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

LIBC = ctypes.CDLL(None, use_errno=True)
NOREPLACE = 1


def rename_with_flags(old: Path, new: Path, flags: int) -> None:
    """renameat2(2)."""
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def error_of(action: Callable[[], object]) -> str | None:
    """The name of the errno that `action` fails with; None when it does not."""
    try:
        result = action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if isinstance(result, int) and result > 2:
        os.close(result)
    return None


@pytest.fixture
def furnished(folder: Folder) -> Path:
    """A directory with one of each: file, other, empty (a directory), full (with one file in), link, loop."""
    path = folder.path
    (path / "file").write_bytes(b"file")
    (path / "other").write_bytes(b"other")
    (path / "empty").mkdir()
    (path / "full").mkdir()
    (path / "full" / "inside").write_bytes(b"inside")
    (path / "link").symlink_to("file")
    (path / "loop").symlink_to("loop")
    return path


RENAMES = [
    ("file", "new", None),
    ("file", "other", None),
    ("file", "file", None),
    ("file", "empty", "EISDIR"),
    ("file", "full", "EISDIR"),
    ("file", "link", None),
    ("file", "nowhere/x", "ENOENT"),
    ("file", "other/x", "ENOTDIR"),
    ("nothing", "new", "ENOENT"),
    ("nothing", "file", "ENOENT"),
    ("full", "new", None),
    ("full", "empty", None),
    ("full", "full", None),
    ("empty", "full", "ENOTEMPTY"),
    ("full", "file", "ENOTDIR"),
    ("full", "link", "ENOTDIR"),
    ("full", "full/below", "EINVAL"),
    ("full/inside", "full", "ENOTEMPTY"),
    ("link", "moved", None),
    ("link", "other", None),
    ("link", "empty", "EISDIR"),
]


@pytest.mark.parametrize(("old", "new", "error"), RENAMES)
def test_rename_follows_the_replacement_rules(furnished: Path, old: str, new: str, error: str | None) -> None:
    def kind_and_content(name: str) -> object:
        path = furnished / name
        if path.is_symlink():
            return os.readlink(path)
        return sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()

    before = kind_and_content(old) if error is None else None
    names = sorted(os.listdir(furnished))
    assert error_of(lambda: os.rename(furnished / old, furnished / new)) == error
    if error is not None:
        assert sorted(os.listdir(furnished)) == names
        return
    assert kind_and_content(new) == before
    assert os.path.lexists(furnished / old) == (old == new)


ERRORS: list[tuple[str, Callable[[Path], object], str]] = [
    ("unlink of a directory", lambda at: os.unlink(at / "empty"), "EISDIR"),
    ("unlink of nothing", lambda at: os.unlink(at / "nothing"), "ENOENT"),
    ("unlink below a file", lambda at: os.unlink(at / "file/x"), "ENOTDIR"),
    ("rmdir of a file", lambda at: os.rmdir(at / "file"), "ENOTDIR"),
    ("rmdir of a link", lambda at: os.rmdir(at / "link"), "ENOTDIR"),
    ("rmdir of a full directory", lambda at: os.rmdir(at / "full"), "ENOTEMPTY"),
    ("rmdir of nothing", lambda at: os.rmdir(at / "nothing"), "ENOENT"),
    ("rmdir of dot", lambda at: os.rmdir(f"{at}/empty/."), "EINVAL"),
    ("mkdir over a file", lambda at: os.mkdir(at / "file"), "EEXIST"),
    ("mkdir over a directory", lambda at: os.mkdir(at / "full"), "EEXIST"),
    ("mkdir over a link", lambda at: os.mkdir(at / "loop"), "EEXIST"),
    ("mkdir in nothing", lambda at: os.mkdir(at / "nothing/x"), "ENOENT"),
    ("mkdir in a file", lambda at: os.mkdir(at / "file/x"), "ENOTDIR"),
    ("symlink over a file", lambda at: os.symlink("x", at / "file"), "EEXIST"),
    ("create exclusively over a file", lambda at: os.open(at / "file", os.O_CREAT | os.O_EXCL), "EEXIST"),
    ("create exclusively over a link", lambda at: os.open(at / "loop", os.O_CREAT | os.O_EXCL), "EEXIST"),
    ("create in nothing", lambda at: os.open(at / "nothing/x", os.O_CREAT), "ENOENT"),
    ("open of nothing", lambda at: os.open(at / "nothing", os.O_RDONLY), "ENOENT"),
    ("open of a directory for writing", lambda at: os.open(at / "full", os.O_WRONLY), "EISDIR"),
    ("open of a file as a directory", lambda at: os.open(at / "file", os.O_DIRECTORY), "ENOTDIR"),
    ("open through a loop", lambda at: os.open(at / "loop", os.O_RDONLY), "ELOOP"),
    ("open without following", lambda at: os.open(at / "link", os.O_NOFOLLOW), "ELOOP"),
    ("open below a file", lambda at: os.open(at / "file/x", os.O_RDONLY), "ENOTDIR"),
    ("stat with a slash at the end", lambda at: os.stat(f"{at}/file/"), "ENOTDIR"),
    ("a name of 256 bytes: stat", lambda at: os.stat(at / ("n" * 256)), "ENAMETOOLONG"),
    ("a name of 256 bytes: create", lambda at: os.open(at / ("n" * 256), os.O_CREAT), "ENAMETOOLONG"),
    ("a name of 256 bytes: mkdir", lambda at: os.mkdir(at / ("n" * 256)), "ENAMETOOLONG"),
    ("a name of 256 bytes: rename", lambda at: os.rename(at / "file", at / ("n" * 256)), "ENAMETOOLONG"),
    ("a name of 256 bytes: symlink", lambda at: os.symlink("x", at / ("n" * 256)), "ENAMETOOLONG"),
    ("readlink of a file", lambda at: os.readlink(at / "file"), "EINVAL"),
    ("listing of a file", lambda at: os.listdir(at / "file"), "ENOTDIR"),
    ("listing of nothing", lambda at: os.listdir(at / "nothing"), "ENOENT"),
    ("truncate of a directory", lambda at: os.truncate(at / "full", 0), "EISDIR"),
    ("truncate to less than nothing", lambda at: os.truncate(at / "file", -1), "EINVAL"),
    ("truncate of nothing", lambda at: os.truncate(at / "nothing", 0), "ENOENT"),
    ("chmod of nothing", lambda at: os.chmod(at / "nothing", 0o600), "ENOENT"),
    ("utime of nothing", lambda at: os.utime(at / "nothing"), "ENOENT"),
]


@pytest.mark.parametrize(("action", "error"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_error(furnished: Path, action: Callable[[Path], object], error: str) -> None:
    names = sorted(os.listdir(furnished))
    assert error_of(lambda: action(furnished)) == error
    assert sorted(os.listdir(furnished)) == names


def test_rename_without_replacing(furnished: Path) -> None:
    file = furnished / "file"
    for name in ("other", "empty", "link", "loop"):
        target = furnished / name
        assert error_of(lambda target=target: rename_with_flags(file, target, NOREPLACE)) == "EEXIST"  # type: ignore[misc]  # a default has no inferred type
    rename_with_flags(furnished / "file", furnished / "new", NOREPLACE)
    assert (furnished / "new").read_bytes() == b"file"
    assert not (furnished / "file").exists()


def test_a_file_unlinked_while_open_can_be_read_and_written(folder: Folder) -> None:
    path = folder.path / "file"
    path.write_bytes(b"0123456789")
    with path.open("r+b", buffering=0) as file:
        path.unlink()
        assert not path.exists()
        assert file.read() == b"0123456789"
        assert os.pwrite(file.fileno(), b"xx", 4) == 2
        os.ftruncate(file.fileno(), 8)
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())
        assert os.fstat(file.fileno()).st_size == 8
        assert os.pread(file.fileno(), 100, 0) == b"0123xx67"
        path.write_bytes(b"another file of that name")
        assert os.pread(file.fileno(), 100, 0) == b"0123xx67"
    assert path.read_bytes() == b"another file of that name"
    path.unlink()
    assert folder.files() == {}


def test_a_file_replaced_while_open_keeps_its_bytes(folder: Folder) -> None:
    old, new = folder.path / "old", folder.path / "new"
    old.write_bytes(b"old bytes")
    new.write_bytes(b"new bytes")
    with old.open("rb", buffering=0) as file:
        os.rename(new, old)
        assert file.read() == b"old bytes"
        assert old.read_bytes() == b"new bytes"
        assert os.fstat(file.fileno()).st_ino != old.stat().st_ino


def test_a_file_renamed_while_open_is_written_under_its_new_name(folder: Folder) -> None:
    old, new = folder.path / "old", folder.path / "new"
    with old.open("wb", buffering=0) as file:
        file.write(b"before ")
        os.rename(old, new)
        file.write(b"after")
        assert not old.exists()
    assert new.read_bytes() == b"before after"
    assert not old.exists()
    assert "old" not in folder.files()


def test_a_file_in_a_renamed_directory_is_written_there(folder: Folder) -> None:
    (folder.path / "old").mkdir()
    with (folder.path / "old" / "file").open("wb", buffering=0) as file:
        file.write(b"before ")
        os.rename(folder.path / "old", folder.path / "new")
        file.write(b"after")
    assert (folder.path / "new" / "file").read_bytes() == b"before after"
    assert os.listdir(folder.path) == ["new"]


def test_two_descriptors_see_each_others_writes(folder: Folder) -> None:
    path = folder.path / "file"
    with path.open("wb", buffering=0) as writer, path.open("r+b", buffering=0) as other:
        writer.write(b"first ")
        assert other.read() == b"first "
        other.write(b"second")
        assert path.stat().st_size == 12
        assert path.read_bytes() == b"first second"
    assert path.read_bytes() == b"first second"


def test_appends_of_two_processes_do_not_overwrite(folder: Folder) -> None:
    path = folder.path / "log"
    script = f'for i in $(seq 100); do echo "$0 $i" >&3; done 3>> "{path}"'
    writers = [folder.home.programs.start(["bash", "-c", script, name]) for name in ("one", "two")]
    assert [folder.home.programs.finish(writer)[0] for writer in writers] == [0, 0]
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {number}" for name in ("one", "two") for number in range(1, 101))


def test_holes_read_as_zeros(folder: Folder) -> None:
    path = folder.path / "sparse"
    with path.open("wb") as file:
        file.seek(1_000_000)
        file.write(b"end")
    assert path.read_bytes() == bytes(1_000_000) + b"end"
    os.truncate(path, 10)
    os.truncate(path, 20)
    assert path.read_bytes() == bytes(20)


def test_a_hole_over_old_bytes_reads_as_zeros(folder: Folder) -> None:
    """Cutting a file and growing it again must not bring the old bytes back, of B2's version neither."""
    path = folder.path / "file"
    path.write_bytes(pattern(1, 600_000))
    with path.open("r+b", buffering=0) as file:
        file.truncate(1000)
        file.truncate(500_000)
        assert_same_bytes(os.pread(file.fileno(), 10**6, 0), pattern(1, 600_000)[:1000] + bytes(499_000))
    assert_same_bytes(path.read_bytes(), pattern(1, 600_000)[:1000] + bytes(499_000))


def test_mapped_writes_arrive(folder: Folder) -> None:
    path = folder.path / "mapped"
    path.write_bytes(bytes(100_000))
    script = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
    view[50_000:50_005] = b"hello"
"""
    folder.run("python", "-c", script, path)
    assert path.read_bytes() == bytes(50_000) + b"hello" + bytes(49_995)


def test_devices_can_be_made_and_seen_but_not_opened(folder: Folder) -> None:
    path = folder.path / "device"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert path.stat().st_rdev == os.makedev(1, 3)
    assert error_of(lambda: os.open(path, os.O_RDONLY)) == "EACCES"
    assert os.statvfs(path).f_flag & (os.ST_NODEV | os.ST_NOSUID) == os.ST_NODEV | os.ST_NOSUID


def test_a_set_uid_program_runs_as_whoever_runs_it(folder: Folder) -> None:
    path = folder.path / "id"
    path.write_bytes(Path("/usr/bin/id").read_bytes())
    os.chown(path, 1000, 1000)
    path.chmod(0o6755)
    assert path.stat().st_mode & 0o7777 == 0o6755
    assert folder.run(path, "-u") == f"{os.getuid()}\n"


def test_temporary_files_without_a_name_are_made_another_way(folder: Folder) -> None:
    assert error_of(lambda: os.open(folder.path, os.O_TMPFILE | os.O_RDWR)) == "ENOTSUP"
    with tempfile.TemporaryFile(dir=folder.path) as file:
        file.write(b"bytes")
        file.seek(0)
        assert file.read() == b"bytes"
    assert os.listdir(folder.path) == []


def test_times_are_kept_to_the_nanosecond(folder: Folder) -> None:
    path = folder.path / "file"
    path.write_bytes(b"x")
    for when in (1_234_567_890_123_456_789, 0, 1, 999_999_999):
        os.utime(path, ns=(when, when))
        assert path.stat().st_mtime_ns == when


def test_a_size_has_blocks(folder: Folder) -> None:
    """`tar -S` takes a file without blocks for one hole."""
    path = folder.path / "file"
    path.write_bytes(b"x" * 5000)
    assert path.stat().st_blocks * 512 >= 5000
    assert path.stat().st_blksize >= 4096


def test_symlinks_keep_their_text(folder: Folder) -> None:
    (folder.path / "link").symlink_to("a/b/../c ü")
    assert os.readlink(folder.path / "link") == "a/b/../c ü"
    assert stat.S_ISLNK((folder.path / "link").lstat().st_mode)
    assert (folder.path / "link").lstat().st_size == len("a/b/../c ü".encode())


def test_free_space_is_told(folder: Folder) -> None:
    space = os.statvfs(folder.path)
    assert space.f_blocks > 0
    assert space.f_bavail > 0
    assert space.f_namemax >= 250
    assert space.f_bsize >= 512
    assert space.f_frsize >= 512
    assert space.f_favail > 0
    assert folder.run("df", "--output=size,avail", folder.path).split()[0] == "1K-blocks"


def test_a_directory_has_itself_and_its_parent(folder: Folder) -> None:
    (folder.path / "sub").mkdir()
    listed = folder.run("ls", "-a", folder.path / "sub").split()
    assert listed == [".", ".."]
    assert os.stat(folder.path / "sub" / "..").st_ino == folder.path.stat().st_ino


def test_programs_can_be_run(folder: Folder) -> None:
    path = folder.path / "script"
    path.write_text("#!/bin/sh\necho ran $1\n")
    path.chmod(0o755)
    assert folder.run(path, "well") == "ran well\n"


def test_locks_are_seen_by_other_processes(folder: Folder) -> None:
    path = folder.path / "locked"
    path.write_bytes(b"")
    with closing(path.open("rb")) as file:
        holder = folder.home.programs.start(["flock", path, "sh", "-c", "echo held; sleep 1"])
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert folder.home.programs.attempt(["flock", "--nonblock", path, "true"])[0] == 1
        assert folder.home.programs.finish(holder)[0] == 0
        assert file.read() == b""
