"""What docs promise of the commands, on a real mount: what they do and the exit codes they end with."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from b2mount.control.places import socket_name
from b2mount.emulator.faults import Fault
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import mount_entry, wait_until

pytestmark = pytest.mark.kernel


def attempt(mount: Mount, *options: str) -> tuple[int, str]:
    """Exit code and output of a `b2mount mount` that is to fail, or to go to the background."""
    return mount.programs.attempt(mount.command(*options))


def fails(mount: Mount, code: int, *words: str, options: tuple[str, ...] = ()) -> None:
    """The mount must fail with this exit code and one line with these words in it."""
    found, output = attempt(mount, *options)
    assert found == code, output
    assert output.count("\n") == 1, output
    for word in words:
        assert word in output
    assert mount.programs.environment["B2_APPLICATION_KEY"] not in output
    assert mount_entry(mount.path) is None


def test_mount_goes_to_the_background_when_it_is_ready(make_mount: MountMaker) -> None:
    """`mount` goes to the background when the mount is ready (exit 0)."""
    mount = make_mount.prepare()
    code, output = attempt(mount)
    assert code == 0, output
    entry = mount_entry(mount.path)
    assert entry is not None
    assert (entry.kind, entry.source) == ("fuse.b2mount", f"b2://{mount.bucket.name}")
    (mount.path / "file").write_bytes(b"bytes")
    assert mount.bucket.read("file") == b"bytes"
    code, output = mount.b2mount("umount", mount.path)
    assert code == 0, output
    assert mount_entry(mount.path) is None


def test_the_command_name_may_be_left_out_and_options_follow_o(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    words = f"cache-dir={mount.cache},ttl=5,ro,_netdev,x-systemd.automount"
    command = ["python", "-m", "b2mount", f"b2://{mount.bucket.name}", str(mount.path), "-o", words]
    code, output = mount.programs.attempt(command)
    assert code == 0, output
    assert "ro" in mount.programs.run("findmnt", "-n", "-o", "OPTIONS", mount.path).split(",")
    assert mount.b2mount("umount", mount.path) == (0, "")


def test_wrong_use(make_mount: MountMaker) -> None:
    """Unknown or contradictory options end with exit 2 and one line that names them."""
    mount = make_mount.prepare()
    fails(mount, 2, "nonsense", options=("--nonsense",))
    fails(mount, 2, "read-only", "write-back", options=("--read-only", "--write-back"))
    fails(mount, 2, "cache-size", options=("--cache-size=lots",))


def test_a_wrong_key(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    mount.use_key(make_mount.server.key_id, "K00wrong")
    fails(mount, 3)


def test_no_key_at_all(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    del mount.programs.environment["B2_APPLICATION_KEY_ID"]
    found, output = attempt(mount)
    assert found == 3, output
    assert output.count("\n") == 1


def test_no_such_bucket(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    mount.source = "nowhere-to-be-found"
    fails(mount, 4, "nowhere-to-be-found")


def test_an_unusable_mount_point(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    (mount.path / "something").write_bytes(b"")
    fails(mount, 5, "not empty")
    (mount.path / "something").unlink()
    mount.path.rmdir()
    fails(mount, 5, "not there")
    mount.path.write_bytes(b"")
    fails(mount, 5, "not a directory")
    mount.path.unlink()
    mount.path.mkdir()
    mount.start()
    code, output = attempt(mount)
    assert code == 5, output
    assert "already mounted" in output
    mount.check()


def test_an_unreachable_b2(make_mount: MountMaker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    mount = make_mount.prepare("--retry-for=2")
    mount.programs.environment["B2_ENVIRONMENT"] = f"http://127.0.0.1:{port}"
    begun = time.monotonic()
    fails(mount, 7)
    assert time.monotonic() - begun < 40


def test_umount_waits_until_everything_is_in_b2(make_mount: MountMaker) -> None:
    """`umount` waits until everything is in B2."""
    mount = make_mount("--write-back=60")
    for number in range(20):
        (mount.path / str(number)).write_bytes(b"x" * 100_000)
    assert mount.bucket.objects() == {}
    code, output = mount.b2mount("umount", mount.path)
    assert code == 0, output
    assert len(mount.bucket.objects()) == 20
    assert mount.wait_for_end() == 0
    assert mount_entry(mount.path) is None


SLOW = ("--write-back=60", "--limit-upload=2M")
MEGABYTES = bytes(2_000_000)


def write_megabytes(mount: Mount, count: int) -> list[str]:
    """Files that take a second each to be sent; their names."""
    names = [f"file {number}" for number in range(count)]
    for name in names:
        (mount.path / name).write_bytes(MEGABYTES)
    return names


def test_umount_shows_how_far_it_is(make_mount: MountMaker) -> None:
    """Showing progress: files, bytes and rate, in a line now and then where there is no terminal."""
    mount = make_mount(*SLOW)
    names = write_megabytes(mount, 9)
    code, output = mount.b2mount("umount", mount.path)
    assert code == 0, output
    first, *later = output.splitlines()
    # the first look comes when it comes: by then a file may have been sent
    begun = re.fullmatch(r"b2mount: \d files left, .+ of ([0-9.]+ MiB) sent", first)
    assert begun, first
    assert later
    for line in later:
        pattern = rf"b2mount: \d files? left, [0-9.]+ MiB of {begun[1]} sent, [0-9.]+ [KM]iB/s, \d+ s to go"
        assert re.fullmatch(pattern, line)
    assert sorted(mount.bucket.objects()) == names


def test_umount_shows_a_live_line_on_a_terminal(make_mount: MountMaker) -> None:
    mount = make_mount(*SLOW)
    names = write_megabytes(mount, 4)
    command = shlex.join([sys.executable, "-m", "b2mount", "umount", str(mount.path)])
    output = mount.programs.run("script", "--quiet", "--return", "--command", command, "/dev/null")
    assert "files left" in output
    assert "MiB/s" in output
    assert "b2mount: " not in output
    assert sorted(mount.bucket.objects()) == names


def drain_for(monkeypatch: pytest.MonkeyPatch, seconds: int, manager: Path) -> None:
    """Mounts made from here on have so long for sending the rest when nobody announced the unmount, and
    a service manager that listens on a socket."""
    usual = Mount.command
    code = f"import os, sys; from b2mount import draining; draining.DRAIN_TIME = {seconds}; \
os.environ['NOTIFY_SOCKET'] = {str(manager)!r}; \
from b2mount.cli.main import main; sys.exit(main(sys.argv[1:]))"

    def command(self: Mount, *options: str) -> list[str]:
        python, _, _, *arguments = usual(self, *options)
        return [python, "-c", code, *arguments]

    monkeypatch.setattr(Mount, "command", command)


@pytest.mark.parametrize("how", ["SIGTERM", "umount", "fusermount3"])
def test_an_unmount_that_nobody_announced_sends_for_a_while(
    make_mount: MountMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """What is left then is named in the log, makes the exit code 8, and is sent by the next mount. A
    service manager hears of all of it."""
    drain_for(monkeypatch, 4, tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)  # all has been said by then
        _drains(make_mount(*SLOW), monkeypatch, how)
        heard = [manager.recv(4096).decode() for _ in range(3)]
    assert heard[0].startswith("READY=1\nSTATUS=b2://")
    assert heard[1] == "STOPPING=1"
    assert re.fullmatch(
        r"EXTEND_TIMEOUT_USEC=\d+\nSTATUS=unmounting: \d+ files?, .* still to be sent", heard[2]
    )


def _drains(mount: Mount, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    names = write_megabytes(mount, 12)
    mount.expect_log("left to the next mount")
    begun = time.monotonic()
    if how == "SIGTERM":
        assert mount.process is not None
        mount.process.send_signal(signal.SIGTERM)
    else:
        mount.programs.run(*(["umount"] if how == "umount" else ["fusermount3", "-u"]), mount.path)
    assert mount.wait_for_end(30) == 8
    assert time.monotonic() - begun < 25
    assert mount_entry(mount.path) is None
    assert "12 files still to be sent, in at most 4 s" in mount.log()
    sent = set(mount.bucket.objects())
    left = set(re.findall(r"b2://[^/]+/(file \d+) is left to the next mount", mount.log()))
    assert left
    assert left | sent == set(names)  # one may still have arrived when nobody waited for it any more
    monkeypatch.undo()
    mount.options = ("--write-back=60",)
    mount.start()
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert sorted(mount.bucket.objects()) == sorted(names)
    assert [mount.bucket.versions(name) for name in names] == [["upload"]] * len(names)


def test_umount_with_a_timeout_says_what_is_unsent(make_mount: MountMaker) -> None:
    """Exit code 8: unsent data left. The mount stays."""
    mount = make_mount("--write-back=60", "--retry-for=60")
    mount.expect_log("WARNING")
    make_mount.server.faults.replace([Fault(endpoint="b2_upload*"), Fault(endpoint="b2_get_upload*")])
    (mount.path / "precious").write_bytes(b"x")
    code, output = mount.b2mount("umount", "--timeout", "1", mount.path)
    assert code == 8, output
    assert "precious" in output
    mount.check()
    make_mount.server.faults.clear()
    assert mount.b2mount("umount", mount.path)[0] == 0
    assert mount.bucket.read("precious") == b"x"


def test_a_busy_mount_is_not_unmounted(mount: Mount) -> None:
    with (mount.path / "file").open("wb"):
        code, output = mount.b2mount("umount", mount.path)
        assert code == 5, output
        assert "in use" in output
        mount.check()
    assert mount.b2mount("umount", mount.path)[0] == 0


def test_umount_of_nothing(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    code, output = mount.b2mount("umount", mount.path)
    assert code == 5, output
    assert output.count("\n") == 1


def test_status_tells_what_is_mounted_and_unsent(make_mount: MountMaker) -> None:
    """`status`: what is mounted, pending uploads with progress, cache, calls and cost today; --json."""
    mount = make_mount("--write-back=60")
    (mount.path / "sub").mkdir()
    (mount.path / "sub" / "waiting").write_bytes(b"x" * 5000)
    code, output = mount.b2mount("status", "--json", mount.path)
    assert code == 0, output
    status = json.loads(output)
    assert status["mountpoint"] == str(mount.path)
    assert mount.bucket.name in status["source"]
    assert [(entry["path"], entry["size"]) for entry in status["pending"]] == [("sub/waiting", 5000)]
    code, output = mount.b2mount("status")
    assert code == 0
    assert "sub/waiting" in output
    assert str(mount.path) in output
    assert mount.b2mount("flush", mount.path / "sub")[0] == 0
    assert mount.bucket.read("sub/waiting") == b"x" * 5000
    status = json.loads(mount.b2mount("status", "--json", mount.path)[1])
    assert status["pending"] == []
    assert status["today"]["by_class"]["A"] >= 1


def test_status_tells_of_each_file_how_far_it_is_and_why_not(make_mount: MountMaker) -> None:
    """State, size, bytes sent and reason of every file that is on its way."""
    mount = make_mount(*SLOW)
    mount.expect_log("cap")
    (mount.path / "refused").write_bytes(b"x" * 3000)
    code, message = "storage_cap_exceeded", "Cannot upload files, storage cap exceeded."
    make_mount.server.faults.replace(
        [Fault(endpoint="b2_upload_*", name="refused", status=403, code=code, message=message)]
    )
    code_of_flush, output = mount.b2mount("flush", mount.path / "refused")
    assert code_of_flush == 8
    assert "refused" in output
    (mount.path / "large").write_bytes(os.urandom(1 << 20) * 60)
    flushing = mount.programs.start([sys.executable, "-m", "b2mount", "flush", mount.path / "large"])

    def pending() -> dict[str, dict[str, object]]:
        status = json.loads(mount.b2mount("status", "--json", mount.path)[1])
        return {entry["path"]: entry for entry in status["pending"]}

    wait_until(lambda: bool(pending().get("large", {"sent": 1})["sent"]), "a part of the large file is sent")
    found = pending()
    assert (found["refused"]["state"], found["refused"]["size"], found["refused"]["sent"]) == (
        "failed",
        3000,
        0,
    )
    assert "cap" in str(found["refused"]["reason"])
    text = mount.b2mount("status", mount.path)[1]
    assert re.search(r"lately    \w{3} \d\d:\d\d:\d\d  .*refused.*cap", text)
    assert re.search(r"refused  2\.9 KiB  failed: .*cap", text)
    assert re.search(r"large  [0-9.]+ MiB of 60\.0 MiB  uploading \d+%", text)
    (mount.path / "waiting").write_bytes(b"x")
    assert pending()["waiting"]["state"] == "queued"
    (mount.path / "large").unlink()  # nobody waits for half a minute
    make_mount.server.faults.clear()
    assert mount.programs.finish(flushing)[0] == 0
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert pending() == {}


FLUSH_ALONE = """
import sys
from b2mount.cli.main import main
from b2mount.control import client
found = client.known_sockets
client.known_sockets = lambda: [path for path in found() if path.stem == sys.argv[1]]
sys.exit(main(["flush"]))
"""
"""`b2mount flush` would flush all mounts of this machine: those of other tests, too."""


def test_flush_returns_when_everything_is_in_b2(make_mount: MountMaker) -> None:
    """`flush [PATH]` returns when everything (or PATH) is in B2."""
    mount = make_mount("--write-back=60")
    for name in ("one", "two"):
        (mount.path / name).write_bytes(name.encode())
    assert mount.b2mount("flush", mount.path / "one")[0] == 0
    assert mount.bucket.read("one") == b"one"
    assert "two" not in mount.bucket.objects()
    name = socket_name(str(mount.path))
    mount.programs.run(sys.executable, "-c", FLUSH_ALONE, name, timeout=60)
    assert mount.bucket.read("two") == b"two"


def test_url_gives_an_address_that_works(mount: Mount) -> None:
    """`url PATH`: the file's URL; --expires 1d makes a pre-authorized one for a private bucket."""
    path = mount.path / "a file ü"
    path.write_bytes(b"bytes")
    code, plain = mount.b2mount("url", path)
    assert code == 0, plain
    code, output = mount.b2mount("url", "--expires", "1d", path)
    assert code == 0, output
    with urllib.request.urlopen(output.strip(), timeout=20) as reply:
        assert reply.read() == b"bytes"
    assert output.startswith(plain.strip())


def test_a_read_only_mount(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.put("file", b"bytes")
    mount = make_mount("--read-only", bucket=bucket)
    assert (mount.path / "file").read_bytes() == b"bytes"
    with pytest.raises(OSError, match="Read-only"):
        (mount.path / "new").write_bytes(b"")
    with pytest.raises(OSError, match="Read-only"):
        os.rename(mount.path / "file", mount.path / "moved")


def test_the_key_is_nowhere_to_be_seen(make_mount: MountMaker) -> None:
    """No secret is ever taken from or put on a command line, in a log line, an error or a status."""
    mount = make_mount("--log-level=debug")
    (mount.path / "file").write_bytes(b"bytes")
    output = mount.b2mount("status", "--json", mount.path)[1]
    wait_until(lambda: "file" in mount.log(), "something is logged")
    assert mount.process is not None
    with open(f"/proc/{mount.process.pid}/cmdline") as file:
        seen = file.read() + output + mount.log()
    assert make_mount.server.application_key not in seen


def test_cp_copies_inside_b2(mount: Mount, make_mount: MountMaker) -> None:
    """`cp` moves no bytes; the copies are seen at once, where the kernel took the names for absent too."""
    data = os.urandom(300_000)
    (mount.path / "dir" / "sub").mkdir(parents=True)
    (mount.path / "dir" / "sub" / "file").write_bytes(data)
    os.utime(mount.path / "dir" / "sub" / "file", ns=(10**18, 10**18 + 5))
    for name in ("copy", "tree"):
        assert not (mount.path / name).exists()
    calls = make_mount.server.counts.calls
    before = calls["b2_upload_file"], calls["b2_download_file_by_id"]
    code, output = mount.b2mount("cp", mount.path / "dir" / "sub" / "file", mount.path / "copy")
    assert (code, "1 file, 293.0 KiB, copied in B2" in output) == (0, True), output
    assert mount.b2mount("cp", mount.path / "dir", mount.path / "tree")[0] == 1
    code, output = mount.b2mount("cp", "-r", mount.path / "dir", mount.path / "tree")
    assert code == 0, output
    assert (calls["b2_upload_file"], calls["b2_download_file_by_id"]) == before
    for copied in (mount.path / "copy", mount.path / "tree" / "sub" / "file"):
        assert copied.stat().st_mtime_ns == 10**18 + 5
        assert copied.read_bytes() == data


def test_metrics_are_for_prometheus(make_mount: MountMaker) -> None:
    """`--metrics ADDRESS` tells what programs asked for and what it took."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mount = make_mount(f"--metrics=127.0.0.1:{port}")
    (mount.path / "file").write_bytes(b"x" * 1000)
    with pytest.raises(FileNotFoundError):
        (mount.path / "absent").unlink()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    assert "b2mount_sent_bytes_total 1000.0" in lines
    assert 'b2mount_operation_seconds_count{operation="create"} 1.0' in lines
    assert any(line.startswith('b2mount_calls_total{class="A"}') for line in lines)
