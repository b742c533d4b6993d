"""Every list of the REST API, as a client sees it: whole responses, with a full ledger."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from filestack_tags.models import Asset, TagDecision, WebhookDelivery

from .data import TAGS
from .load import MOMENT, copy_rows, settle
from .measure import interleaved
from .oracle import Oracle
from .reads import Say
from .workload import Search

TIMES = 90
"""Requests to each endpoint."""

Parameters = dict[str, str]


class Endpoints:
    """Requests each endpoint with a list, with typical parameters.

    Args:
        searches: of one tag, and of several.
        say: called with the name and the figures of each measurement.
    """

    def __init__(self, oracle: Oracle, searches: Mapping[str, list[Search]], say: Say) -> None:
        self._names = oracle.library.names
        self._searches = searches
        self._say = say
        self.cells: dict[str, dict[str, Any]] = {}

    def measure(self) -> None:
        """Fill the ledger, if it is empty, and measure each endpoint."""
        _fill_ledger()
        person, _ = get_user_model().objects.get_or_create(username="reader", is_superuser=True)
        client = APIClient()
        client.force_authenticate(person)
        for path, asked in self._requests().items():
            searches = [Search(str(number)) for number in range(TIMES)]

            def get(
                search: Search, path: str = path, asked: list[Parameters] = asked
            ) -> tuple[float, Any]:
                given = asked[int(search.stratum) % len(asked)]
                start = perf_counter()
                response = client.get(f"/api/v1/{path}", given)
                taken = (perf_counter() - start) * 1000
                assert response.status_code == 200, response.content
                return taken, response

            figures = interleaved(searches, {"app": get}, seconds={"app": 60.0})
            cell = f"GET {path}"
            self.cells[cell] = {
                name: figure.summary() | {"strata_p50": {}} for name, figure in figures.items()
            }
            self._say(cell, figures)

    def _requests(self) -> dict[str, list[Parameters]]:
        one = [{"q": search.text(self._names)} for search in self._searches["S1"][:30]]
        several = [{"q": search.text(self._names)} for search in self._searches["AND"][:30]]
        tags = [search.every[0][0] for search in self._searches["S1"][:30]]
        letters = sorted({name[:2] for name in self._names[::97]})[:30]
        assets = list(Asset.objects.order_by("-pk").values_list("pk", flat=True)[:3000:100])
        return {
            "assets/": [{}, *one, *several],
            "assets/count/": one + several,
            "assets/facets/": one + several,
            "assets/histogram/": [{"tag": self._names[tag - 1]} for tag in tags],
            "tags/": [{}, *({"q": start} for start in letters)],
            "tags/complete/": [{"q": start} for start in letters],
            "runs/": [{}, {"state": "failed"}, *({"asset": str(pk)} for pk in assets)],
            "deliveries/": [{}, {"state": "failed"}],
            "jobs/": [{}],
            "decisions/": [{}],
            "saved-searches/": [{}],
        }


def _fill_ledger() -> None:
    """Give each asset a delivery and a decision, unless the ledger is filled."""
    if WebhookDelivery.objects.exists():
        return
    ids = range(1, Asset.objects.count() + 1)
    copy_rows(WebhookDelivery, map(_delivery_row, ids))
    copy_rows(TagDecision, map(_decision_row, ids))
    settle()


def _delivery_row(pk: int) -> dict[str, Any]:
    return {
        "id": pk,
        "event_key": f"event{pk}",
        "action": "fp.upload",
        "headers": "{}",
        "raw_body": b"{}",
        "state": "failed" if pk % 1000 == 0 else "processed",
        "attempts": 1,
        "duplicates": 0,
        "outcome": "",
        "error": "",
        "error_code": "",
        "asset_id": pk,
        "received_at": MOMENT,
        "processed_at": MOMENT,
    }


def _decision_row(pk: int) -> dict[str, Any]:
    return {
        "id": pk,
        "asset_id": pk,
        "tag_id": 1 + pk % TAGS,
        "act": "accept",
        "created_at": MOMENT,
        "origin": "admin",
        "before_confidence": 80,
        "before_decision": 0,
        "before_source": 0,
        "after_confidence": 80,
        "after_decision": 1,
        "after_source": 0,
    }
