"""Random operations on the mount and on a plain local directory must not be told apart.

Each rule does one thing on both sides and compares what came back: a value, or the error's errno.
After each run of operations both trees are compared, also as another mount of the bucket sees them; and
once more when the mount has been taken down and made again with an empty cache.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.mounted.conftest import LOCALLY, MountMaker, local_directory
from tests.mounted.harness import Directory
from tests.mounted.processes import Stuck, wait_until
from tests.mounted.trees import LONG_AGO, assert_same_trees, look, pattern, tree

pytestmark = pytest.mark.kernel

RUNS, STEPS = 15, 60
WANTED_STEPS = 650
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
LIBC = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")

NAMES = st.sampled_from(["a", "b", "c d", "ü+%20&", ".hidden", "sub", "file"])
CHOICES = st.integers(0, 20)
SLOTS = st.integers(0, 5)
SIZES = st.sampled_from([0, 1, 100, 4096, 5000, 70_000, 131_073, 300_000, 700_000])
OFFSETS = st.sampled_from([0, 1, 99, 4095, 4097, 65_536, 131_072, 262_143, 262_144, 400_001])
ACCESS = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
CREATION = st.sampled_from([0, os.O_CREAT, os.O_CREAT | os.O_TRUNC, os.O_CREAT | os.O_EXCL, os.O_TRUNC])
EXTRAS = st.sampled_from([0, 0, 0, 0, 0, os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY])
MODES = st.sampled_from([0o600, 0o644, 0o640, 0o755, 0o777, 0o400, 0o1777])
TEXTS = st.sampled_from(["a", "file", "sub", "../file", "sub/a", ".", "/nowhere", "c d"])
TIMES = st.sampled_from([0, 1, 999_999_999, 1_234_567_890_123_456_789, 86_400 * 10**9, LONG_AGO * 10**9 - 1])


def shows(root: Path, expected: Mapping[str, object]) -> bool:
    """Whether a tree that uploads still change is as it should be; one that changes while it is
    walked is not."""
    try:
        return dict(tree(root)) == expected
    except OSError:
        return False


@attrs.frozen
class Existing:
    """One of the names that are there."""

    choice: int

    def within(self, root: Path) -> str:
        found = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        return found[self.choice % len(found)] if found else "nothing"


@attrs.frozen
class Within:
    """A name, there or not, in one of the directories that are there."""

    choice: int
    name: str

    def within(self, root: Path) -> str:
        found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir())
        directories = [".", *found]
        return f"{directories[self.choice % len(directories)]}/{self.name}"


@attrs.frozen
class Anything:
    """A path through whatever is there or not."""

    names: list[str]

    def within(self, root: Path) -> str:
        return "/".join(self.names)


def drawn_from(strategies: Sequence[st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    """As st.one_of, but one that is given twice comes twice as often."""
    return st.sampled_from(strategies).flatmap(lambda chosen: chosen)


Target = Existing | Within | Anything
EXISTING = st.builds(Existing, CHOICES)
WITHIN = st.builds(Within, CHOICES, NAMES)
ANYTHING = st.builds(Anything, st.lists(NAMES, min_size=1, max_size=3))
OLD = drawn_from([EXISTING] * 10 + [WITHIN, ANYTHING])
NEW = drawn_from([WITHIN] * 8 + [EXISTING, ANYTHING])
ANY = drawn_from([EXISTING, WITHIN] * 4 + [ANYTHING])


def rename_if_free(old: Path, new: Path) -> None:
    """renameat2(RENAME_NOREPLACE), which `mv -n` and `mv` use."""
    renameat2(old, new, RENAME_NOREPLACE)


def exchange(old: Path, new: Path) -> None:
    """renameat2(RENAME_EXCHANGE), which `mv --exchange` uses."""
    renameat2(old, new, RENAME_EXCHANGE)


def renameat2(old: Path, new: Path, flags: int) -> None:
    """renameat2(2)."""
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@attrs.define
class Side:
    """One of the two directories and the descriptors open in it."""

    root: Path
    descriptors: list[int] = attrs.field(factory=list)

    def close_all(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())


def outcome(action: Callable[[], T]) -> T | str:
    """A result or the name of the error."""
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


@attrs.frozen
class Step:
    """One call of one operation."""

    method: Callable[..., None] = attrs.field(repr=lambda method: method.__name__)
    arguments: dict[str, object]


OPERATIONS: list[st.SearchStrategy[Step]] = []
M = TypeVar("M", bound=Callable[..., None])


def operation(*, weight: int = 1, **arguments: st.SearchStrategy[object]) -> Callable[[M], M]:
    """Registers a method as an operation. All are drawn in every run (hypothesis's own rules are not:
    it leaves out some of them in each run, which is too many with so few runs)."""

    def register(method: M) -> M:
        strategy = st.builds(Step, st.just(method), st.fixed_dictionaries(arguments))
        OPERATIONS.extend([strategy] * weight)
        return method

    return register


class Operations(RuleBasedStateMachine):
    """One run of operations in a new directory on each side."""

    place: Directory
    other: Directory
    local: Path
    numbers: Iterator[int]
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.agreed = True
        name = f"run-{next(self.numbers)}"
        self.expected = Side(self.local / name)
        self.found = Side(self.place.path / name)
        self.both(self.furnish)

    @staticmethod
    def furnish(side: Side) -> None:
        """Something to begin with."""
        (side.root / "sub" / "a").mkdir(parents=True)
        (side.root / "file").write_bytes(pattern(1, 5000))
        (side.root / "sub" / "file").write_bytes(pattern(2, 600_000))
        (side.root / "sub" / "a" / "b").write_bytes(b"")

    def both(self, action: Callable[[Side], object]) -> None:
        """Do it on both sides and compare."""
        type(self).steps += 1
        expected = outcome(lambda: action(self.expected))
        found = outcome(lambda: action(self.found))
        self.agreed = found == expected
        assert found == expected

    def at(self, target: Target, action: Callable[[Path], object]) -> None:
        """Do it with one path."""
        name = target.within(self.expected.root)
        self.both(lambda side: action(side.root / name))

    def between(self, old: Target, new: Target, action: Callable[[Path, Path], object]) -> None:
        """Do it with two paths."""
        source, destination = old.within(self.expected.root), new.within(self.expected.root)
        self.both(lambda side: action(side.root / source, side.root / destination))

    def with_descriptor(self, slot: int, action: Callable[[int], object]) -> None:
        """Do it with one of the open descriptors, or with that of a file opened for it."""
        if not self.expected.descriptors:
            self.open(Within(slot, "file"), os.O_RDWR, os.O_CREAT, 0, 0o644)
        if self.expected.descriptors:
            self.both(lambda side: action(side.descriptors[slot % len(side.descriptors)]))

    # -- descriptors -------------------------------------------------------------------

    @operation(weight=3, path=ANY, access=ACCESS, creation=CREATION, extra=EXTRAS, mode=MODES)
    def open(self, path: Target, access: int, creation: int, extra: int, mode: int) -> None:
        if len(self.expected.descriptors) >= 6:
            self.close(0)

        name, flags = path.within(self.expected.root), access | creation | extra
        self.both(lambda side: side.descriptors.append(os.open(side.root / name, flags, mode)))

    @operation(weight=2, slot=SLOTS)
    def close(self, slot: int) -> None:
        if self.expected.descriptors:
            self.both(lambda side: os.close(side.descriptors.pop(slot % len(side.descriptors))))

    @operation(weight=2, slot=SLOTS, seed=st.integers(0, 99), size=SIZES)
    def write(self, slot: int, seed: int, size: int) -> None:
        self.with_descriptor(slot, lambda fd: os.write(fd, pattern(seed, size)))

    @operation(weight=2, slot=SLOTS, seed=st.integers(0, 99), size=SIZES, offset=OFFSETS)
    def pwrite(self, slot: int, seed: int, size: int, offset: int) -> None:
        self.with_descriptor(slot, lambda fd: os.pwrite(fd, pattern(seed, size), offset))

    @operation(slot=SLOTS, size=SIZES)
    def read(self, slot: int, size: int) -> None:
        self.with_descriptor(slot, lambda fd: os.read(fd, size))

    @operation(slot=SLOTS, size=SIZES, offset=OFFSETS)
    def pread(self, slot: int, size: int, offset: int) -> None:
        self.with_descriptor(slot, lambda fd: os.pread(fd, size, offset))

    @operation(slot=SLOTS, offset=OFFSETS, whence=st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]))
    def seek(self, slot: int, offset: int, whence: int) -> None:
        def action(fd: int) -> int:
            # Where a directory ends is its file system's own business.
            return -1 if stat.S_ISDIR(os.fstat(fd).st_mode) else os.lseek(fd, offset, whence)

        self.with_descriptor(slot, action)

    @operation(slot=SLOTS, size=OFFSETS)
    def ftruncate(self, slot: int, size: int) -> None:
        self.with_descriptor(slot, lambda fd: os.ftruncate(fd, size))

    @operation(slot=SLOTS)
    def fsync(self, slot: int) -> None:
        self.with_descriptor(slot, os.fsync)

    @operation(slot=SLOTS)
    def fstat(self, slot: int) -> None:
        self.with_descriptor(slot, lambda fd: look(os.fstat(fd)))

    @operation(slot=SLOTS, mode=MODES)
    def fchmod(self, slot: int, mode: int) -> None:
        self.with_descriptor(slot, lambda fd: os.fchmod(fd, mode))

    # -- names -------------------------------------------------------------------------

    @operation(weight=2, path=ANY, seed=st.integers(0, 99), size=SIZES)
    def put(self, path: Target, seed: int, size: int) -> None:
        self.at(path, lambda path: path.write_bytes(pattern(seed, size)))

    @operation(path=OLD)
    def get(self, path: Target) -> None:
        self.at(path, Path.read_bytes)

    @operation(weight=2, path=OLD, size=OFFSETS)
    def truncate(self, path: Target, size: int) -> None:
        self.at(path, lambda path: os.truncate(path, size))

    @operation(weight=2, path=NEW, mode=MODES)
    def mkdir(self, path: Target, mode: int) -> None:
        self.at(path, lambda path: path.mkdir(mode))

    @operation(path=OLD)
    def rmdir(self, path: Target) -> None:
        self.at(path, Path.rmdir)

    @operation(weight=2, path=OLD)
    def unlink(self, path: Target) -> None:
        self.at(path, Path.unlink)

    @operation(weight=3, old=OLD, new=drawn_from([NEW, NEW, EXISTING]))
    def rename(self, old: Target, new: Target) -> None:
        self.between(old, new, os.rename)

    @operation(old=OLD, new=drawn_from([NEW, NEW, EXISTING]))
    def rename_if_free(self, old: Target, new: Target) -> None:
        self.between(old, new, rename_if_free)

    @operation(old=OLD, new=drawn_from([EXISTING, EXISTING, NEW]))
    def exchange(self, old: Target, new: Target) -> None:
        self.between(old, new, exchange)

    @operation(path=NEW, mode=MODES)
    def make_socket(self, path: Target, mode: int) -> None:
        self.at(path, lambda path: os.mknod(path, stat.S_IFSOCK | mode))

    @operation(path=NEW, text=TEXTS)
    def symlink(self, path: Target, text: str) -> None:
        self.at(path, lambda path: path.symlink_to(text))

    @operation(path=OLD)
    def readlink(self, path: Target) -> None:
        self.at(path, os.readlink)

    @operation(path=OLD, mode=MODES)
    def chmod(self, path: Target, mode: int) -> None:
        self.at(path, lambda path: path.chmod(mode))

    @operation(path=OLD, uid=st.sampled_from([-1, 0, 1000]), gid=st.sampled_from([-1, 0, 100]))
    def chown(self, path: Target, uid: int, gid: int) -> None:
        self.at(path, lambda path: os.lchown(path, uid, gid))

    @operation(path=OLD, modified=TIMES)
    def utimes(self, path: Target, modified: int) -> None:
        self.at(path, lambda path: os.utime(path, ns=(modified, modified)))

    @operation(path=OLD)
    def lstat(self, path: Target) -> None:
        self.at(path, lambda path: look(path.lstat()))

    @operation(path=OLD)
    def stat(self, path: Target) -> None:
        self.at(path, lambda path: look(path.stat()))

    @operation(path=OLD)
    def listdir(self, path: Target) -> None:
        self.at(path, lambda path: sorted(os.listdir(path)))

    # -- running them ------------------------------------------------------------------

    @rule(step=drawn_from(OPERATIONS))
    def step(self, step: Step) -> None:
        step.method(self, **step.arguments)

    # -- the end of a run --------------------------------------------------------------

    def teardown(self) -> None:
        self.expected.close_all()
        self.found.close_all()
        if not self.agreed:
            return
        assert_same_trees(self.expected.root, self.found.root)
        self.compare_through(self.other)

    def compare_through(self, other: Directory) -> None:
        """Another mount, which knows only what is in B2, must come to show the same."""
        root = other.path / self.expected.root.name
        expected = dict(tree(self.expected.root))
        try:
            wait_until(lambda: shows(root, expected), "B2 has it all", 5)
        except Stuck:
            assert_same_trees(self.expected.root, root)


@pytest.fixture
def mounts(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Directory]:
    """Makes mounts; where tests are tried locally, the same plain directory each time."""
    if not LOCALLY:
        maker: MountMaker = request.getfixturevalue("make_mount")
        return lambda *options, **settings: maker(*options, limit=230, **settings)
    plain = local_directory(tmp_path)
    return lambda *options, **settings: plain


PROFILE = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(240)  # half a minute when all is well; the rest is for making a failure small
@pytest.mark.parametrize("options", [(), ("--write-back=0.1",)], ids=["default", "write-back"])
def test_random_operations_agree_with_a_local_directory(
    mounts: Callable[..., Directory],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    monkeypatch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS", 60, raising=False)

    class Bound(Operations):
        place = mounts(*options)
        other = mounts("--read-only", "--ttl=0", bucket=place.bucket)
        local = tmp_path / "local"
        numbers = itertools.count()

    Bound.local.mkdir()
    run_state_machine_as_test(Bound, settings=PROFILE)
    Bound.place.remount(fresh_cache=True)
    dict(tree(Bound.place.path))  # a directory's own attributes are known once it has been listed
    assert_same_trees(Bound.local, Bound.place.path)
    Bound.place.check()
    assert Bound.steps >= WANTED_STEPS
