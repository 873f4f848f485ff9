"""A real mount in a process of its own, made, watched and taken down by a test."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import attrs

from tests.mounted.bucket import BucketView
from tests.mounted.processes import (
    Guardian,
    MountEntry,
    Programs,
    Stuck,
    abort_connection,
    kill_group,
    mount_entry,
    wait_until,
)

REPOSITORY = Path(__file__).parents[2]
READY_WITHIN = 30
TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|^Traceback |^\w+(Error|Exception|Group): ", re.MULTILINE)
GIT_IDENTITY = {
    "GIT_AUTHOR_NAME": "Nobody",
    "GIT_AUTHOR_EMAIL": "nobody@example.org",
    "GIT_COMMITTER_NAME": "Nobody",
    "GIT_COMMITTER_EMAIL": "nobody@example.org",
}


@attrs.frozen
class Place:
    """The directories of one mount, all below one temporary directory."""

    root: Path

    @property
    def mount_point(self) -> Path:
        return self.root / "mnt"

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    def cache(self, generation: int) -> Path:
        """The cache directory; another one after each start with an empty cache."""
        return self.root / f"cache-{generation}"

    def environment(self, secrets: dict[str, str]) -> dict[str, str]:
        """What programs of this mount find: nothing of the user's own configuration."""
        for name in ("home", "run", "mnt"):
            (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONUNBUFFERED": "1",
            "LANG": "C.UTF-8",
            "HOME": str(self.root / "home"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "B2_ACCOUNT_INFO": str(self.root / "home" / "account.db"),
            **GIT_IDENTITY,
            **secrets,
        }


class Directory(Protocol):
    """What tests work on: a mount, or for trying them out a plain directory."""

    path: Path
    bucket: BucketView
    programs: Programs

    def check(self) -> None:
        """Fails unless the mount is there and well."""
        ...

    def remount(self, *, fresh_cache: bool = False) -> None:
        """Unmount, and mount the same bucket at the same place."""
        ...

    def expect_log(self, text: str) -> None:
        """The log of the mount may have warnings with this text."""
        ...

    def close(self) -> None:
        """Takes it all down; fails when that was not clean."""
        ...


@attrs.define
class Mount:
    """`b2mount mount` as a process. Made by `Mount.create`; `close` must follow whatever happens."""

    bucket: BucketView
    place: Place
    options: tuple[str, ...]
    time_limit: float
    programs: Programs
    path: Path
    source: str
    process: subprocess.Popen[str] | None = None
    _generation: int = 0
    _device: int | None = None
    _guardian: Guardian | None = None
    _expected: list[str] = attrs.field(factory=list)
    _checked: int = 0
    """How much of the log has been looked at."""
    _troubles: list[str] = attrs.field(factory=list)

    @classmethod
    def create(
        cls, bucket: BucketView, root: Path, secrets: dict[str, str], options: tuple[str, ...], limit: float
    ) -> Mount:
        """Everything for a mount, not mounted yet."""
        place = Place(root)
        point = place.mount_point
        programs = Programs(place.environment(secrets), lambda: abort_connection(point))
        return cls(bucket, place, options, limit, programs, point, bucket.name)

    # -- life --------------------------------------------------------------------------

    @property
    def cache(self) -> Path:
        """The cache directory in use."""
        return self.place.cache(self._generation)

    def command(self, *options: str) -> list[str]:
        """The command line of the mount."""
        base = [sys.executable, "-m", "b2mount", "mount", self.source, str(self.path)]
        return [*base, "--cache-dir", str(self.cache), *self.options, *options]

    def use_key(self, key_id: str, application_key: str) -> None:
        """Mount with another key."""
        environment = self.programs.environment
        environment.update(B2_APPLICATION_KEY_ID=key_id, B2_APPLICATION_KEY=application_key)

    def start(self, *, fresh_cache: bool = False) -> None:
        """Mount, and wait until the mount answers. With an empty cache, if so wanted."""
        self._dismiss_guardian()
        self._generation += fresh_cache
        with self.place.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command("--foreground"),
                cwd=self.place.root,
                env=self.programs.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, "mounted", READY_WITHIN)
        except Stuck as error:
            raise Stuck(f"{error}; its log: {self.log()}") from None
        self._device = self._entry().device
        self._set_guardian()
        self.check()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the mount ended with {self.process.returncode}: {self.log()}"
        entry = mount_entry(self.path)
        if entry is None:
            return False
        # A dead mount that is still to be cleared fails here, a new one keeps it waiting until it can answer.
        code, _ = self.programs.attempt(["stat", "--file-system", self.path], timeout=READY_WITHIN)
        return code == 0 and mount_entry(self.path) == entry

    def _entry(self) -> MountEntry:
        entry = mount_entry(self.path)
        assert entry is not None, f"nothing is mounted at {self.path}"
        return entry

    def check(self) -> None:
        """Fails unless the mount is there, is ours, and has logged no trouble."""
        entry = self._entry()
        assert entry.kind.startswith("fuse"), entry
        assert self.path.stat().st_dev == entry.device == self._device, "this is not the mount that was made"
        self.check_log()

    def wait_for_end(self, timeout: float = 60) -> int:
        """The daemon's exit code, once the mount is gone."""
        assert self.process is not None
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Stuck(f"the daemon is still there {timeout:g} s after its unmount") from None

    def umount(self, within: float = 60) -> None:
        """Unmount as `umount(8)` does, and wait for the daemon's end."""
        self.check()
        self.programs.run("umount", self.path, timeout=30)
        assert self.wait_for_end(within) == 0, self.log()
        self._dismiss_guardian()

    def remount(self, *, fresh_cache: bool = False) -> None:
        """Unmount and mount again; with an empty cache, if so wanted."""
        self.umount()
        self.start(fresh_cache=fresh_cache)

    def kill(self) -> None:
        """The daemon is gone without a word, as in a crash; the dead mount point stays."""
        assert self.process is not None
        kill_group(self.process)
        self.process.wait(10)
        self._dismiss_guardian()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End the daemon by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal_number)
        code = self.wait_for_end()
        self._dismiss_guardian()
        return code

    def _set_guardian(self) -> None:
        assert self.process is not None
        self._guardian = Guardian.watch(self._entry(), self.process, self.time_limit)

    def _dismiss_guardian(self) -> None:
        guardian, self._guardian = self._guardian, None
        if guardian is not None and not guardian.dismiss():
            self._troubles.append(f"the mount was aborted after {self.time_limit:g} s")

    # -- what it says ------------------------------------------------------------------

    def log(self) -> str:
        """All that the daemon has logged."""
        return self.place.log.read_text() if self.place.log.exists() else ""

    def expect_log(self, text: str) -> None:
        """The log may have warnings with this text from here on."""
        self._expected.append(text)

    def check_log(self) -> None:
        """Fails on a warning or a traceback that nobody expected, once for each."""
        text = self.log()
        news, self._checked = text[self._checked :], len(text)
        lines = [line for line in news.splitlines() if TROUBLE.search(line)]
        surprises = [line for line in lines if not any(known in line for known in self._expected)]
        assert not surprises, "the mount logged\n" + "\n".join(surprises) + "\n" + text[-4000:]

    def b2(self, *arguments: str, timeout: float = 60) -> str:
        """What Backblaze's own tool prints; what it says besides, such as the realm in use, is left out."""
        return self.programs.run("sh", "-c", 'exec b2 "$@" 2> /dev/null', "b2", *arguments, timeout=timeout)

    def b2mount(self, *arguments: str | Path, timeout: float = 60) -> tuple[int, str]:
        """Exit code and output of another `b2mount` command."""
        return self.programs.attempt([sys.executable, "-m", "b2mount", *arguments], timeout=timeout)

    # -- the end -----------------------------------------------------------------------

    def close(self) -> None:
        """Takes everything down, by force where it must; fails when force or trouble was needed."""
        if self.process is not None and self.process.poll() is None:
            self._leave(self.process)
        self._dismiss_guardian()
        self._clear_table()
        if self.process is not None:
            kill_group(self.process)
        try:
            self.check_log()
        except AssertionError as error:
            self._troubles.append(str(error))
        assert not self._troubles, "\n".join(self._troubles)

    def _leave(self, process: subprocess.Popen[str]) -> None:
        try:
            self.programs.run("umount", self.path, timeout=20)
            code = self.wait_for_end()
            if code != 0:
                self._troubles.append(f"the daemon ended with {code}")
        except AssertionError as trouble:
            self._troubles.append(f"{trouble}\n{self.log()[-4000:]}")
            abort_connection(self.path)
            self._clear_table()
            kill_group(process)
            process.wait(10)

    def _clear_table(self) -> None:
        while mount_entry(self.path) is not None:
            subprocess.run(["umount", "--lazy", self.path], check=True, timeout=10)


@attrs.define
class LocalDirectory:
    """A plain directory with a mount's face: the tests themselves must pass on it."""

    bucket: BucketView
    programs: Programs
    path: Path

    def check(self) -> None:
        """Always well."""

    def remount(self, *, fresh_cache: bool = False) -> None:
        """Nothing to do."""

    def expect_log(self, text: str) -> None:
        """It logs nothing."""

    def close(self) -> None:
        """Leaves nothing behind."""
        shutil.rmtree(self.path)
