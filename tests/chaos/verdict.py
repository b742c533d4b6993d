"""``python -m tests.chaos.verdict``: check the rows of a run, print findings as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import django

from .crashing import directory


def main() -> None:
    django.setup()
    from .invariants import Facts, judge

    findings = [asdict(finding) for finding in judge(Facts.read(directory()))]
    sys.stdout.write(json.dumps(findings))


if __name__ == "__main__":
    main()
