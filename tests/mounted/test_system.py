"""b2mount among the parts of a system: mount(8), fstab, autofs, a second mount, one that died.

mount(8) runs in a mount namespace of its own, where /sbin has mount.b2 and /var/cache is the test's; it and
all processes in it are gone with the test.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from b2mount.control.places import SYSTEM_RUNTIME_DIR, socket_name
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import mount_entry, wait_until

pytestmark = pytest.mark.kernel

HELPER = """\
#!/bin/sh
exec {python} -c 'from b2mount.cli.main import {main}; {main}()' "$@"
"""
NAMESPACE = """\
set -e
mkdir "$1/upper" "$1/work" "$1/var"
mount -t tmpfs tmpfs "$1/upper"
mkdir "$1/upper/sbin" "$1/upper/work"
cp "$1/mount.b2" "$1/b2mount" "$1/upper/sbin"
sbin=$(realpath /sbin)
mount -t overlay -o "lowerdir=$sbin,upperdir=$1/upper/sbin,workdir=$1/upper/work" overlay "$sbin"
mount --bind "$1/var" /var/cache
"""


def in_namespace(mount: Mount, script: str) -> str:
    """What a shell says where mount.b2 is installed, with hardly anything in its environment."""
    root = mount.place.root
    for name, main in (("mount.b2", "run_mount_helper"), ("b2mount", "run")):
        (root / name).write_text(HELPER.format(python=shlex.quote(sys.executable), main=main))
        (root / name).chmod(0o755)
    kept = ("PYTHONPATH", "B2_ENVIRONMENT")
    environment = [f"{name}={mount.programs.environment[name]}" for name in kept]
    command = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "env",
        "-i",
        *environment,
    ]
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    return mount.programs.run(*command, path, "sh", "-c", NAMESPACE + script, "sh", root, timeout=100)


@pytest.fixture
def prepared(make_mount: MountMaker) -> Mount:
    """A bucket with a file, and a file with the key."""
    mount = make_mount.prepare()
    mount.bucket.put("file", b"bytes")
    keys = {"key_id": make_mount.server.key_id, "application_key": make_mount.server.application_key}
    with open(
        mount.place.root / "key.json", "x", opener=lambda path, flags: os.open(path, flags, 0o600)
    ) as file:
        json.dump(keys, file)
    return mount


def test_fstab_and_mount8(prepared: Mount) -> None:
    """By type b2 and by fuse.b2mount, with the words of fstab."""
    root, mnt = prepared.place.root, prepared.path
    options = f"_netdev,nofail,noatime,x-systemd.automount,credentials={root}/key.json"
    (root / "fstab").write_text(
        f"b2://{prepared.bucket.name}  {mnt}  b2  {options},ttl=5m  0  0\n"
        f"{prepared.bucket.name}  {root}/home  fuse.b2mount  noauto,{options},ro,cache-dir={root}/c  0 0\n"
    )
    said = in_namespace(
        prepared,
        """
        mount -T "$1/fstab" --all
        mount -T "$1/fstab" --all  # knows it again
        findmnt -n -o FSTYPE,SOURCE "$1/mnt"
        cat "$1/mnt/file"; echo
        echo more > "$1/mnt/new"
        mount -T "$1/fstab" "$1/home"
        cat "$1/home/new"
        touch "$1/home/refused" 2> /dev/null || echo read-only
        mount -o remount,ro "$1/mnt" 2>&1 || echo "refused: $?"
        umount "$1/home"
        b2mount umount "$1/mnt"
        ls "$1/var/b2mount"
        """,
    )
    lines = said.splitlines()
    assert lines[0].split() == ["fuse.b2mount", f"b2://{prepared.bucket.name}"]
    assert lines[1:4] == ["bytes", "more", "read-only"]
    assert "remount" in said
    assert "log" in lines  # the cache of one without a home
    assert prepared.bucket.read("new") == b"more\n"


def test_autofs_and_trouble_by_mount8(prepared: Mount) -> None:
    """autofs says -n and -s, and words of others; mount(8) shows our line and passes the exit code on."""
    root = prepared.place.root
    said = in_namespace(
        prepared,
        f"""
        words=credentials={root}/key.json,intr,vers=3
        mount -n -s -t b2 -o "$words" b2://{prepared.bucket.name} "$1/mnt"
        cat "$1/mnt/file"; echo
        b2mount umount "$1/mnt"
        mount -t b2 -o "$words" b2://{prepared.bucket.name} "$1/mnt" 2>&1 || echo "exit $?"
        mount -f -t b2 -o credentials={root}/key.json b2://{prepared.bucket.name} "$1/mnt" && echo faked
        mountpoint -q "$1/mnt" || echo "nothing there"
        mount -t b2 -o credentials={root}/key.json b2://nowhere-at-all "$1/mnt" 2>&1 || echo "exit $?"
        """,
    )
    assert said.splitlines()[0] == "bytes"
    assert "b2mount: unknown option 'intr'\nexit 2\nfaked\nnothing there\n" in said
    assert "no bucket 'nowhere-at-all'" in said
    assert said.endswith("exit 4\n")


def test_a_second_mount_with_the_cache_of_the_first(make_mount: MountMaker) -> None:
    """It is refused with a line that says who holds it."""
    mount = make_mount("--write-back=60")
    other = mount.place.root / "other"
    other.mkdir()
    command = mount.command()
    code, output = mount.programs.attempt([*command[:5], other, *command[6:]])
    assert code == 5, output
    assert output.count("\n") == 1
    assert mount.process is not None
    assert f"process {mount.process.pid} (" in output
    assert f"mount {mount.bucket.name} {mount.path} " in output
    mount.check()


def test_a_mount_that_died_is_recovered_by_the_next(make_mount: MountMaker) -> None:
    """On the same point; what it left in the table and among the sockets is gone, what was unsent arrives."""
    mount = make_mount("--write-back=60")
    (mount.path / "file").write_bytes(b"unsent")
    mount.kill()
    socket = SYSTEM_RUNTIME_DIR / f"{socket_name(str(mount.path))}.sock"
    assert socket.exists()
    assert "has died" in mount.b2mount("status")[1]
    assert socket.exists()  # it tells a mount that died from another user's
    mount.start()
    assert (
        len(
            [
                line
                for line in Path("/proc/self/mountinfo").read_text().splitlines()
                if str(mount.path) in line
            ]
        )
        == 1
    )
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert mount.bucket.read("file") == b"unsent"
    mount.kill()
    mount.programs.run("umount", "--lazy", mount.path)
    assert mount_entry(mount.path) is None
    assert mount.b2mount("status")[0] == 0
    assert not socket.exists()


AS_USER = """\
set -e
cd "$1"
mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse
echo '# nothing' > fuse.conf && mount --bind fuse.conf /etc/fuse.conf
{ cat /etc/passwd; echo 'ana:x:4711:4711::/mnt:/bin/sh'; } > passwd && mount --bind passwd /etc/passwd
mount -t tmpfs tmpfs /mnt && cp key.json /mnt && cd /mnt && mkdir mnt run && chown 4711:4711 . *
export HOME=/mnt XDG_RUNTIME_DIR=/mnt/run
# the interpreter may be where only root can read; to read is all that this user may do more than others
cap=+dac_read_search
exec setpriv --reuid=4711 --regid=4711 --clear-groups --inh-caps=$cap --ambient-caps=$cap sh -e -c "$2"
"""


def test_an_ordinary_user(prepared: Mount) -> None:
    """With fusermount3, in directories of the user's own; others come in only where root lets them."""
    script = f"""
        exec 2>&1
        b2mount() {{ {shlex.quote(sys.executable)} -m b2mount "$@"; }}
        b2mount mount {prepared.bucket.name} mnt --credentials key.json --allow-other || echo "exit $?"
        b2mount mount {prepared.bucket.name} mnt --credentials key.json --write-back
        stat -c '%u %a' mnt; cat mnt/file; echo; echo mine > mnt/new
        b2mount status | head -1
        find .cache run -type f -perm /077
        b2mount umount mnt
        b2mount umount mnt || echo "exit $?"
        """
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", AS_USER]
    lines = prepared.programs.run(*command, "sh", prepared.place.root, script, timeout=100).splitlines()
    assert lines[:2] == ["b2mount: allow-other needs the line user_allow_other in /etc/fuse.conf", "exit 2"]
    assert lines[2:4] == ["4711 755", "bytes"]
    assert lines[4].startswith(f"b2://{prepared.bucket.name} on /mnt/mnt, for ")
    assert lines[-1] == "exit 5"
    assert prepared.bucket.read("new") == b"mine\n"
    assert not [line for line in lines if ".cache/" in line]


ASLEEP = """\
import sys, types
from b2mount import waking
from b2mount.cli.main import main
waking.EVERY = 0.05
asleep = lambda clock: float(open({file!r}).read()) if clock == "boottime" else 0.0
waking.time = types.SimpleNamespace(CLOCK_BOOTTIME="boottime", CLOCK_MONOTONIC="", clock_gettime=asleep)
sys.exit(main(sys.argv[1:]))
"""


def test_after_a_sleep_names_are_asked_for_again(
    make_mount: MountMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When the machine has slept for longer than --ttl; the kernel asks again, too."""
    usual, slept = Mount.command, tmp_path / "slept"
    slept.write_text("1000")

    def command(self: Mount, *options: str) -> list[str]:
        python, _, _, *arguments = usual(self, *options)
        return [python, "-c", ASLEEP.format(file=str(slept)), *arguments]

    monkeypatch.setattr(Mount, "command", command)
    mount = make_mount("--ttl=1h")
    assert not (mount.path / "new").exists()
    mount.bucket.put("new", b"bytes")
    assert not (mount.path / "new").exists()
    slept.with_suffix(".then").write_text("30000")
    slept.with_suffix(".then").rename(slept)
    wait_until(lambda: (mount.path / "new").exists(), "the new name is seen")
    assert "has slept for 29000 s" in mount.log()
