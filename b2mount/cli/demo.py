"""`make demo` and `make demo-stop`: python -m b2mount.cli.demo start|stop

Everything lives in .demo/ of the current directory: the emulator's data, its log and process id,
the cache, the mount point and the list of what was mounted. Starting twice or stopping twice does
no harm, and whatever was killed in between is cleaned up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from b2mount.cli.main import main
from b2mount.cli.mount_point import answers
from b2mount.control.places import absolute, mount_at

HERE: Final = Path.cwd().resolve() / ".demo"
DATA: Final = HERE / "data"
CACHE: Final = HERE / "cache"
MOUNTPOINT: Final = HERE / "mnt"
MOUNTED: Final = HERE / "mounted"
EMULATOR_LOG: Final = HERE / "emulator.log"
EMULATOR: Final = HERE / "emulator.json"
BUCKET: Final = "demo-bucket"
PATIENCE: Final = 30.0
"""Seconds that the emulator has to start or to end."""

SAMPLES: Final = {
    "hello.txt": "This file is an object in a bucket. Edit it, copy it, move it.\n",
    "notes/todo.md": "# To do\n\n- try cp, mv, rm, vim, git clone, rsync\n- look at `b2mount status`\n",
    "notes/empty.txt": "",
    "table/numbers.csv": "".join(f"{number},{number * number}\n" for number in range(1, 1001)),
}


def start() -> int:
    """Mount the demo bucket, or BUCKET on MOUNTPOINT where both are given."""
    HERE.mkdir(exist_ok=True)
    bucket, mountpoint = os.environ.get("BUCKET", ""), os.environ.get("MOUNTPOINT", "")
    if bucket or mountpoint:
        return _start_real(bucket, mountpoint)
    url = _start_emulator()
    if url is None:
        print(f"b2mount: the emulator does not start, see {EMULATOR_LOG}", file=sys.stderr)
        return 1
    os.environ["B2_ENVIRONMENT"] = url
    options = ["--credentials", str(DATA / "credentials.json"), "--cache-dir", str(CACHE)]
    code = _mount(BUCKET, str(MOUNTPOINT), options)
    if code == 0:
        _write_samples()
        _tell(str(MOUNTPOINT), f"bucket {BUCKET} of a B2 emulated at {url}")
    return code


def stop() -> int:
    """Unmount what the demo has mounted and end its emulator."""
    if not HERE.exists():
        print("the demo was never started here")
        return 0
    for mountpoint in _mounted():
        if mount_at(mountpoint) is not None and main(["umount", mountpoint, "--timeout", "60"]) == 8:
            main(["umount", "--now", mountpoint])
        if mount_at(mountpoint) is not None:
            return 1  # busy: the reason has been said
    MOUNTED.unlink(missing_ok=True)
    _stop_emulator()
    print("the demo is stopped; its data is in .demo/, `make demo` goes on with it")
    return 0


def _start_real(bucket: str, mountpoint: str) -> int:
    if not bucket or not mountpoint:
        missing = "MOUNTPOINT" if bucket else "BUCKET"
        print(
            f"b2mount: to mount a bucket of your own, give {missing} too, and a key: see README",
            file=sys.stderr,
        )
        return 2
    code = _mount(bucket, mountpoint, [])
    if code == 0:
        _tell(absolute(mountpoint), f"your bucket {bucket}")
    return code


def _mount(source: str, mountpoint: str, options: Sequence[str]) -> int:
    path = absolute(mountpoint)
    entry = mount_at(path)
    if entry is not None and entry.is_ours and answers(path):
        return 0
    if entry is None:  # a dead mount would refuse to be looked at
        Path(path).mkdir(parents=True, exist_ok=True)
    source = f"b2://{source.removeprefix('b2://')}"  # never a named mount of the configuration file
    code = main(["mount", source, path, *options])
    if code == 0:
        MOUNTED.write_text("".join(f"{line}\n" for line in sorted({*_mounted(), path})))
    return code


def _mounted() -> list[str]:
    return MOUNTED.read_text().splitlines() if MOUNTED.exists() else []


def _write_samples() -> None:
    if any(MOUNTPOINT.iterdir()):
        return
    for name, text in SAMPLES.items():
        path = MOUNTPOINT / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def _tell(mountpoint: str, what: str) -> None:
    program = Path(sys.executable).with_name("b2mount")
    trial = Path(mountpoint) / "b2mount-trial"  # a name that no real bucket has yet
    print(
        f"\n{mountpoint} is {what}. Try:\n"
        f"    ls -lR {mountpoint}\n"
        f"    cp -a tests {trial} && diff -r tests {trial} && rm -r {trial}\n"
        f"    {program} status\n"
        f"    {program} --help\n"
        "`make demo-stop` sends what is unsent, unmounts, and ends everything."
    )


# -- the emulator's process -----------------------------------------------------------------


def _start_emulator() -> str | None:
    """The emulator's URL; None if it does not start. It keeps its port from run to run, so that a
    mount that outlived it finds it again."""
    process, url = _last_emulator()
    if process is not None:
        return url
    port = url.rpartition(":")[2] if url else "0"
    return _launch(port) or (_launch("0") if port != "0" else None)


def _launch(port: str) -> str | None:
    words = ["-m", "b2mount", "emulator", "--data", str(DATA), "--bucket", BUCKET, "--port", port]
    EMULATOR_LOG.unlink(missing_ok=True)
    with open(EMULATOR_LOG, "xb", opener=_privately) as log:  # the emulator's key is in it
        process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        first, newline, _ = EMULATOR_LOG.read_text().partition("\n")
        if newline and "listens on" in first:
            url = first.split()[-1]
            EMULATOR.write_text(json.dumps({"process": process.pid, "url": url}))
            return url
        time.sleep(0.05)
    process.kill()
    return None


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_emulator() -> tuple[int | None, str]:
    """The process that runs, or None, and the URL that it has or had."""
    if not EMULATOR.exists():
        return None, ""
    known = json.loads(EMULATOR.read_text())
    process, url = int(known["process"]), str(known["url"])
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    except FileNotFoundError:
        return None, url
    return (process if "emulator" in words and str(DATA) in words else None), url


def _stop_emulator() -> None:
    process, _ = _last_emulator()
    if process is None:
        return
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while _last_emulator()[0] is not None:
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit({"start": start, "stop": stop}[sys.argv[1]]())
