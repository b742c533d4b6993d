"""Retries after a failure of the database, not of the work."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from filestack_tags.db import transactions
from filestack_tags.models import Asset
from filestack_tags.tagging import queue
from tests import scripted


def failing(times: int) -> Any:
    tries: list[int] = []

    def work() -> int:
        tries.append(1)
        if len(tries) <= times:
            raise OperationalError("deadlock")
        return len(tries)

    return work


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "FIRST_PAUSE", 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_at_once")
class TestRetried:
    def test_a_deadlock_is_tried_again(self) -> None:
        assert transactions.run_with_retry(failing(4)) == 5

    def test_tries_are_bounded(self) -> None:
        with pytest.raises(OperationalError):
            transactions.run_with_retry(failing(5))

    def test_inside_a_transaction_there_is_one_try(self) -> None:
        with transactions.atomic(), pytest.raises(OperationalError):
            transactions.run_with_retry(failing(1))

    def test_a_paid_reply_survives_a_deadlock(
        self, asset: Asset, script: Any, tags_of: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, once = queue.results.apply, failing(1)

        def apply(*args: Any, **kwargs: Any) -> str:
            once()
            return real(*args, **kwargs)

        monkeypatch.setattr(queue.results, "apply", apply)
        queue.request([asset.pk])
        queue.tag(asset.pk)
        assert tags_of(asset) == {"sky": 90}
        assert len(scripted.asked) == 1
