"""README's table of what to do in a mount instead of a command of the `b2` tool: its rows, and what runs
the commands that are in them."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import attrs

from tests.mounted.bucket import RemoteBucket
from tests.mounted.harness import REPOSITORY, Mount


@attrs.frozen
class Row:
    """A row of the table: what is in code in each of its columns."""

    tool: tuple[str, ...]
    library: tuple[str, ...]
    here: tuple[str, ...]
    """Commands only: what begins with the name of a program."""

    @property
    def name(self) -> str:
        return self.tool[0]


def rows() -> list[Row]:
    """The table."""
    readme = (REPOSITORY / "README.md").read_text()
    section = readme.partition("\n## From the b2 tool and b2blaze\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    cells = [[re.findall("`([^`]+)`", cell) for cell in line.split("|")[1:-1]] for line in lines]
    return [Row(tuple(tool), tuple(blaze), tuple(filter(is_command, here))) for tool, blaze, here in cells]


def is_command(text: str) -> bool:
    program = text.split()[0]
    return program == "b2mount" or shutil.which(program) is not None


@attrs.define
class World:
    """A row, two buckets of its own, and the mount of the account."""

    mount: Mount
    row: Row
    bucket: RemoteBucket
    words: dict[str, str]
    """What stands for the words in capitals."""
    ran: list[str] = attrs.field(factory=list)
    asked: int = 0
    """How often the tool was."""

    @property
    def home(self) -> Path:
        return self.mount.place.root / "home"

    def path(self, name: str) -> Path:
        """Of something in B."""
        return self.mount.path / self.words["B"] / name

    def _run(self, command: str) -> str:
        words = "|".join(self.words)
        command = re.sub(rf"\b({words})\b", lambda found: self.words[found[0]], command)
        return self.mount.programs.run("sh", "-ec", command, cwd=self.mount.path)

    def here(self) -> list[str]:
        """Runs the commands of the row, in the mount; what each prints."""
        printed = []
        for command in self.row.here:
            printed.append(self._run(f'b2mount() {{ python -m b2mount "$@"; }}; {command}').rstrip("\n"))
            self.ran.append(command)
        return printed

    def tool(self, command: str) -> str:
        """What the tool prints."""
        self.asked += 1
        return self._run(f"b2 {command} 2> /dev/null").rstrip("\n")

    def info(self, uri: str) -> dict[str, object]:
        return dict(json.loads(self.tool(f"file info {uri}")))

    def listed(self, command: str = "ls -r --versions b2://B") -> list[dict[str, str]]:
        """All that B holds, by name, newest first, or what another `ls` of the tool says."""
        return list(json.loads(self.tool(f"{command} --json")))

    def versions(self, command: str = "ls -r --versions b2://B") -> list[tuple[str, str, str]]:
        """Name, action and id of what is listed."""
        return [(one["fileName"], one["action"], one["fileId"]) for one in self.listed(command)]

    def put_twice(self) -> tuple[str, str]:
        """Two versions of f; their ids, the old one first."""
        return self.bucket.put("f", b"old"), self.bucket.put("f", b"new one")

    def time_of(self, number: int) -> None:
        """TIME is that of the oldest version of f (0), or of a younger one."""
        self.words["TIME"] = sorted(os.listdir(self.mount.path / ".b2" / "versions" / self.words["B"] / "f"))[
            number
        ]
