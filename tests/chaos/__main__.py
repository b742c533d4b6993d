"""``python -m tests.chaos``: kill processes at random, and check what is left.

Needs Linux, PostgreSQL's server programs, ``redis-server``, and a RabbitMQ that ``rabbitmqctl`` may
control. A missing broker is reported and skipped; ``REQUIRE_SERVICES=1`` makes that a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from types import FrameType

from . import plan
from .brokers import BROKERS
from .campaign import Campaign, Report
from .cluster import Cluster, binaries
from .processes import ROOT


def options() -> Namespace:
    parser = ArgumentParser(
        prog="python -m tests.chaos", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seed", default="filestack", help="draws what goes wrong and when")
    parser.add_argument("--broker", choices=(*BROKERS, "both"), default="both")
    parser.add_argument("--events", type=int, default=2400, help="in all, at Filestack")
    parser.add_argument("--kills", type=int, default=24, help="of each kind, in all")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="how long all of it may take"
    )
    parser.add_argument("--logs", type=Path, default=ROOT / "var" / "chaos")
    return parser.parse_args()


def main() -> int:
    chosen = options()
    names = list(BROKERS) if chosen.broker == "both" else [chosen.broker]
    problems = {name: problem for name in names if (problem := BROKERS[name].problem())}
    if binaries() is None:
        problems["postgresql"] = "initdb and pg_ctl are not installed"
    for name, problem in problems.items():
        say(f"{name}: SKIPPED, {problem}")
    usable = [name for name in names if name not in problems]
    required = os.environ.get("REQUIRE_SERVICES") == "1" or chosen.broker != "both"
    if "postgresql" in problems or not usable or (problems and required):
        say(
            "A service that is missing is a failure."
            if required
            else "Nothing can be shown here."
        )
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    logs = chosen.logs / time.strftime("%Y%m%d-%H%M%S")
    say(f"Seed {chosen.seed!r}, {chosen.events} events. The logs are in {logs}")
    reports = []
    seconds = chosen.minutes * 60 / len(usable)
    with Cluster() as cluster:
        for name in usable:
            campaign = Campaign(
                broker=name,
                seed=chosen.seed,
                mix=plan.mix(-(-chosen.events // len(usable))),
                kills=-(-chosen.kills // len(usable)),
                seconds=seconds,
                run=logs / name,
                say=say,
            )
            try:
                reports.append(campaign.fight(cluster))
            finally:
                (logs / name / "postgresql.log").write_text(cluster.log())
                shutil.rmtree(logs / name / "tokens", ignore_errors=True)
            tell(reports[-1])
    table(reports, chosen.kills)
    broken = [report.broker for report in reports if report.broken]
    say(f"\nBROKEN with {', '.join(broken)}" if broken else "\nEverything held.")
    return 1 if broken else 0


def tell(report: Report) -> None:
    """Print the result of one campaign."""
    say(f"\n{report.broker}")
    for finding in report.findings:
        verdict = "BROKEN" if finding["broken"] else "held"
        say(f"  {verdict:7} {finding['name']}: {finding['detail']}")
        for example in finding["examples"]:
            say(f"            {example}")
        if finding["broken"] > len(finding["examples"]) > 0:
            say(f"            … {finding['broken']} in all")
    starts = ", ".join(f"{name} ×{number}" for name, number in report.starts.items())
    say(f"  started: {starts}")
    for note in report.notes:
        say(f"  {note}")


def table(reports: list[Report], wanted: int) -> None:
    """Print the faults that were tried, and those that hit less often than required."""
    tried: Counter[str] = sum((report.tried for report in reports), Counter())
    struck: Counter[str] = sum((report.struck for report in reports), Counter())
    say(f"\n{'fault':36} {'tried':>5} {'hit':>5}  aimed")
    for kind, aim in plan.KINDS.items():
        say(f"{kind:36} {tried[kind]:5} {struck[kind]:5}  {aim}")
    if fewer := [kind for kind in plan.KINDS if struck[kind] < wanted]:
        say(f"Fewer than {wanted} hits, for want of time: {', '.join(fewer)}.")


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal like Ctrl-C: everything that was started is stopped."""
    raise KeyboardInterrupt


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped; what was started has ended.")
        sys.exit(130)
