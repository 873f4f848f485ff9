"""b2mount unit: a systemd unit for the mounts that have a name in the configuration file."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

UNIT: Final = """\
# b2mount@NAME.service mounts what [mounts.NAME] in ~/.config/b2mount/config.toml says.
[Unit]
Description=b2mount of %i
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={program} mount --foreground %i
# while it sends what is unsent it asks for the time that it needs
TimeoutStopSec=120
# 1 and 7, B2 can't be reached, may pass; what the others mean stays until somebody does something
Restart=on-failure
RestartSec=15
RestartPreventExitStatus=2 3 4 5 6 8
# no sandbox (ProtectHome= and such): nobody outside of it would see the mount

[Install]
WantedBy=default.target
"""


def execute(arguments: Namespace) -> int:
    """Prints it, with this very program in it."""
    print(UNIT.format(program=" ".join(_quoted(word) for word in program())), end="")
    return 0


def program() -> list[str]:
    """The words that call b2mount from anywhere."""
    path = Path(sys.argv[0])
    if path.name == "b2mount" and os.access(path, os.X_OK):
        return [str(path.absolute())]
    found = shutil.which("b2mount")
    return [os.path.abspath(found)] if found else [sys.executable, "-m", "b2mount"]


def _quoted(word: str) -> str:
    """One word of systemd's: `%` begins something there."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if " " in text or text != word else text
