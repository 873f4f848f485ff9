"""The fenced blocks of README, and what is to be there before some of them."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

README = (Path(__file__).parents[2] / "README.md").read_text()

BEFORE = {
    "Extended attributes": "mkdir ~/b2; b2mount mount my-bucket ~/b2; cd ~/b2; cp report.pdf page",
    "Retention and legal hold": "b2 bucket create --file-lock-enabled locked allPrivate; mkdir ~/b2; "
    "b2mount mount locked ~/b2; cd ~/b2; echo text > report.pdf",
    "Recipes": "mkdir ~/Documents build; seq 99 > ~/Documents/text; touch build/app.tar.gz; export BUILD=17",
}
"""By section: what its reader has."""


@attrs.frozen
class Block:
    """Something between fences."""

    section: str
    language: str
    is_elsewhere: bool
    """It needs another machine, or more of it than a test may touch: `sh elsewhere`."""
    text: str

    @property
    def script(self) -> str:
        """What a shell is to do: all lines, or those that begin with a prompt."""
        if self.language == "console":
            return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith("$ "))
        return self.text

    @property
    def name(self) -> str:
        """For people who read of tests."""
        return f"{self.section}: {self.script.splitlines()[0]}"


def blocks() -> list[Block]:
    """All of them, in order."""
    found = []
    section = ""
    for heading, info, text in re.findall(r"^##+ (.*)$|^```(.+)\n((?:.*\n)*?)```$", README, re.MULTILINE):
        section = heading or section
        if info:
            language, *marks = info.split()
            assert marks in ([], ["elsewhere"]), info
            found.append(Block(section, language, bool(marks), text))
    return found


def to_run() -> list[Block]:
    """Those that a test can run."""
    return [block for block in blocks() if block.language in ("sh", "console") and not block.is_elsewhere]
