"""The targets, each as a function of the figures of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log10
from typing import Any

Run = Mapping[str, Any]
Outcome = tuple[str, bool]
"""What was measured, and whether that is enough."""


class NotMeasured(LookupError):
    """The run does not contain the figures for a target."""


@dataclass(frozen=True)
class Bar:
    """``judge`` receives the run and, for growth, the run at a tenth of the size."""

    name: str
    asked: str
    judge: Callable[[Run, Run | None], Outcome]


def bars(vendor: str) -> list[Bar]:
    """Return the targets of ``postgres``, or those of the other databases."""
    if vendor != "postgres":
        return [Bar("pages", "every class of pages p95 ≤ 10 ms", _every_page)]
    return [
        *(
            Bar(cell, "limit + ≤ 1 ms p50, + ≤ 1.5 ms p95", _over_limit(cell))
            for cell in ("S1 ids", "S1", "S1K ids", "S1K")
        ),
        Bar("AND", "≤ 2.5 × limit p50, ≤ 2 × p95", _times_limit("AND", 2.5, 2)),
        Bar("AND, JSON + GIN", "ahead at p50 and p95", _ahead_of_json),
        Bar("AND, naive FK", "≥ 100 × at p50", _times_peer("naive FK", 100)),
        Bar("AND, taggit", "≥ 300 × at p50", _times_peer("taggit", 300)),
        Bar("OR", "≤ 2 × limit p50 and p95", _times_limit("OR", 2, 2)),
        Bar("PFX", "≤ 2 × limit p50 and p95", _times_limit("PFX", 2, 2)),
        Bar("CONF2", "≤ 2 × limit p50 and p95", _times_limit("CONF2", 2, 2)),
        *(
            Bar(f"growth {cell}", f"p95 exponent ≤ {most}", _growth(cell, most))
            for cell, most in (("S1", 0.25), ("S1K", 0.25), ("OR", 0.25), ("AND", 0.5))
        ),
        Bar(
            "facets of a tag, 10k sample",
            "p95 ≤ 100 ms, recall@30 ≥ 0.97",
            _facets("10,000", 100, 0.97),
        ),
        Bar("facets of a tag, 1k sample", "p95 ≤ 15 ms", _facets("1,000", 15, 0)),
        Bar("HTTP, raw", "≤ 4 × raw rows and tags p50", _http_raw),
        Bar("HTTP, spread", "p95 ≤ 2 × its own p50", _http_spread),
        Bar("HTTP, stock DRF", "≥ 5 × faster p50", _http_stock),
        Bar(
            "readers beside writers",
            "p95 ≤ 3 × without writers, no error, no deadlock",
            _beside_writers,
        ),
    ]


def _cell(run: Run, cell: str, design: str) -> Mapping[str, Any]:
    try:
        figures: Mapping[str, Any] = run["cells"][cell][design]
    except KeyError as error:
        raise NotMeasured from error
    if not figures["n"]:
        raise NotMeasured
    return figures


def _process(run: Run, name: str) -> Mapping[str, Any]:
    try:
        figures: Mapping[str, Any] = run["processes"][name]
    except KeyError as error:
        raise NotMeasured from error
    return figures


def _every_page(run: Run, smaller: Run | None) -> Outcome:
    kinds = ("S1", "S1K", "AND", "AND4", "OR", "PFX", "CONF1", "CONF2")
    slowest = {kind: _cell(run, kind, "app")["p95"] for kind in kinds}
    return ", ".join(f"{k} {v:.2f}" for k, v in slowest.items()), max(slowest.values()) <= 10


def _over_limit(cell: str) -> Callable[[Run, Run | None], Outcome]:
    def judge(run: Run, smaller: Run | None) -> Outcome:
        app, limit = _cell(run, cell, "app"), _cell(run, cell, "limit")
        p50, p95 = app["p50"] - limit["p50"], app["p95"] - limit["p95"]
        return f"+{p50:.2f} ms p50, +{p95:.2f} ms p95", p50 <= 1 and p95 <= 1.5

    return judge


def _times_limit(cell: str, p50: float, p95: float) -> Callable[[Run, Run | None], Outcome]:
    def judge(run: Run, smaller: Run | None) -> Outcome:
        app, limit = _cell(run, cell, "app"), _cell(run, cell, "limit")
        by50, by95 = app["p50"] / limit["p50"], app["p95"] / limit["p95"]
        return f"{by50:.2f} × p50, {by95:.2f} × p95", by50 <= p50 and by95 <= p95

    return judge


def _ahead_of_json(run: Run, smaller: Run | None) -> Outcome:
    app, peer = _cell(run, "AND", "app"), _cell(run, "AND", "JSON + GIN")
    measured = (
        f"{app['p50']:.2f} / {app['p95']:.2f} against {peer['p50']:.2f} / {peer['p95']:.2f} ms"
    )
    return measured, app["p50"] < peer["p50"] and app["p95"] < peer["p95"]


def _times_peer(peer: str, least: float) -> Callable[[Run, Run | None], Outcome]:
    def judge(run: Run, smaller: Run | None) -> Outcome:
        times = _cell(run, "AND", peer)["p50"] / _cell(run, "AND", "app")["p50"]
        return f"{times:.0f} ×", times >= least

    return judge


def _growth(cell: str, most: float) -> Callable[[Run, Run | None], Outcome]:
    def judge(run: Run, smaller: Run | None) -> Outcome:
        if smaller is None:
            raise NotMeasured
        exponent = growth(run, smaller, cell, "app", "p95")
        return f"{exponent:.2f}", exponent <= most

    return judge


def growth(run: Run, smaller: Run, cell: str, design: str, figure: str) -> float:
    """Return how time grows with the number of assets: 0 for constant, 1 for linear."""
    larger = _cell(run, cell, design)[figure] / _cell(smaller, cell, design)[figure]
    return log10(larger) / log10(run["assets"] / smaller["assets"])


def _facets(sample: str, most: float, recall: float) -> Callable[[Run, Run | None], Outcome]:
    """Evaluate facets of one tag's assets. Those of several tags are mostly counted in full."""

    def judge(run: Run, smaller: Run | None) -> Outcome:
        one, several = (_cell(run, cell, f"app, sample {sample}") for cell in ("FAC1", "FAC2"))
        share = one.get("recall")
        measured = (
            f"p95 {one['p95']:.1f} ms, recall {'–' if share is None else f'{share:.3f}'}; "
            f"of several tags p95 {several['p95']:.1f} ms"
        )
        return measured, one["p95"] <= most and (share is None or share >= recall)

    return judge


def _http_raw(run: Run, smaller: Run | None) -> Outcome:
    times = _cell(run, "HTTP", "app")["p50"] / _cell(run, "HTTP", "raw rows and tags")["p50"]
    return f"{times:.2f} ×", times <= 4


def _http_spread(run: Run, smaller: Run | None) -> Outcome:
    app = _cell(run, "HTTP", "app")
    return f"{app['p95'] / app['p50']:.2f} ×", app["p95"] <= 2 * app["p50"]


def _http_stock(run: Run, smaller: Run | None) -> Outcome:
    times = _cell(run, "HTTP", "stock DRF")["p50"] / _cell(run, "HTTP", "app")["p50"]
    return f"{times:.1f} ×", times >= 5


def _beside_writers(run: Run, smaller: Run | None) -> Outcome:
    quiet, busy = _process(run, "8 readers"), _process(run, "8 readers, 2 writers")
    times = busy["p95"] / quiet["p95"]
    alone = _process(run, "1 reader")["p95"]
    measured = (
        f"{times:.2f} × ({quiet['p95']:.1f} → {busy['p95']:.1f} ms; 1 reader {alone:.1f} ms)"
    )
    return measured, times <= 3 and busy["errors"] == busy["deadlocks"] == 0
