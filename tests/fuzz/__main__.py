"""Run the property tests repeatedly, with new seeds, for a bounded time."""

from __future__ import annotations

import argparse
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence


def command(seed: int) -> list[str]:
    return [
        *(sys.executable, "-m", "pytest", "tests", "-m", "hypothesis", "-q", "-n", "auto"),
        *("--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}", "-p", "no:randomly"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Start rounds until the next would end too late; return 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="300 by default")
    parser.add_argument(
        "--seed", type=int, help="of the first round, to repeat one that failed"
    )
    options = parser.parse_args(arguments)
    first = secrets.randbelow(2**32) if options.seed is None else options.seed
    began = time.monotonic()
    rounds, longest = 0, 0.0
    while rounds == 0 or time.monotonic() - began + longest <= options.seconds:
        seed, start = first + rounds, time.monotonic()
        done = subprocess.run(command(seed), check=False, capture_output=True, text=True)
        took = time.monotonic() - start
        rounds, longest = rounds + 1, max(longest, took)
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n")
            print(f"Failed. Once more: python -m tests.fuzz --seconds 0 --seed {seed}")
            return 1
        passed = re.findall(r"\d+ passed", done.stdout)
        print(f"seed {seed}: {' '.join(passed)} in {took:.0f} s", flush=True)
    print(f"Rounds: {rounds}, in {time.monotonic() - began:.0f} s. Nothing was found.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
