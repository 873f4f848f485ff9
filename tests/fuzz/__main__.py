"""python -m tests.fuzz TARGET... [--minutes N] [--corpus DIR]: look for inputs that break a promise.

python -m tests.fuzz TARGET --repeat FILE: run one input again, as a crash report says.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.all_targets import TARGETS
from tests.fuzz.target import Target


def main() -> int:
    """Returns 1 when a fault was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=f"all, or of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=15, help="for each target")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="what is kept between runs")
    parser.add_argument("--repeat", type=Path, help="run this one input, without atheris")
    asked = parser.parse_args()
    names = list(TARGETS) if asked.targets == ["all"] else asked.targets
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    if asked.repeat is not None:
        for name in names:
            TARGETS[name].run(asked.repeat.read_bytes())
        return 0
    failed = [name for name in names if not fuzz(TARGETS[name], asked.minutes, asked.corpus.absolute())]
    print(f"faults in: {', '.join(failed)}" if failed else "no fault found")
    return bool(failed)


def fuzz(target: Target, minutes: float, place: Path) -> bool:
    """Whether nothing was found. In a process of its own: libFuzzer ends the one that it is in."""
    corpus = place / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    crash = place / f"{target.name}.crash"
    crash.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        seeds, words = Path(scratch) / "seeds", Path(scratch) / "words"
        seeds.mkdir()
        for number, seed in enumerate(target.seeds):
            (seeds / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word.encode())}"\n' for word in target.words))
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.under_atheris",
            target.name,
            f"-max_total_time={max(1, round(minutes * 60))}",
            f"-max_len={target.longest}",
            "-timeout=20",
            "-rss_limit_mb=2048",
            f"-exact_artifact_path={crash}",
            "-print_final_stats=1",
            *([f"-dict={words}"] if target.words else []),
            str(corpus),
            str(seeds),
        ]
        print(f"== {target.name}", flush=True)
        ended = subprocess.run(command, check=False).returncode
    if ended:
        print(f"repeat: python -m tests.fuzz {target.name} --repeat {crash}", flush=True)
    return ended == 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
