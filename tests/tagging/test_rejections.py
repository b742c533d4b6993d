"""Rejections: for one file it fails, for the account all calls are paused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from filestack_tags.exceptions import FilestackError
from filestack_tags.filestack.calls import Calls
from filestack_tags.filestack.errors import Reply
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Circuit, TaggingRun
from filestack_tags.tagging import asset_leases, queue
from tests import scripted
from tests.tagging.rows import queued

pytestmark = pytest.mark.django_db

OF_A_FILE: list[tuple[int, str, str]] = [
    (403, "policy error: proper credentials were not provided", "policy_rejected"),
    (
        403,
        "application [4711] policy error: proper credentials were not provided: "
        '(signature: ""; policy "")',
        "policy_rejected",
    ),
    (
        403,
        '{"result":"error","error":{"code":403,"msg":"Policy required"}}',
        "policy_rejected",
    ),
    (
        403,
        '{"error":"Invalid App policy","c":"0","i":"UPL-eu-w-1-10","t":1}',
        "policy_rejected",
    ),
    (401, '{"error":"Invalid Policy","c":"0","i":"CLR-eu-w-1-10","t":1}', "policy_rejected"),
    (400, "policy was not properly url-safe base64 encoded", "policy_rejected"),
    (200, '{"error":"invalid security policy path"}', "policy_rejected"),
    (403, "", "access_denied"),
    (401, '{"error":{"msg":"Forbidden"}}', "access_denied"),
    (403, "<html>Forbidden</html>", "access_denied"),
    (404, "", "file_not_found"),
    (400, '{"error":"Unsupported input format"}', "request_rejected"),
    (400, '{"error":"Parameters are inalid"}', "request_rejected"),
    (413, "Output size limit exceeded", "request_rejected"),
]
"""Filestack's possible answers about one file: status, body, error code."""

OF_THE_ACCOUNT: list[tuple[int, str, str]] = [
    (200, "Invalid Application", "invalid_application"),
    (403, '{"error":"Invalid application"}', "invalid_application"),
    (401, '{"error":{"msg":"invalid api key"}}', "invalid_application"),
]


def refusal(status: int, body: str) -> FilestackError:
    call = Calls(api_key="AKEY", app_secret="secret").tags(Source.handle("h1"))  # for a test
    with pytest.raises(FilestackError) as raised:
        call.result(Reply(status, body.encode()), 0)
    return raised.value


@pytest.mark.parametrize(("status", "body", "code"), OF_A_FILE)
def test_a_refused_file_fails_at_once_and_others_are_tagged(
    script: Any, status: int, body: str, code: str
) -> None:
    bad, good = queued(2)
    script[:] = [refusal(status, body), scripted.reply({"sky": 90})]
    queue.tag(bad)
    queue.tag(good)
    asset = Asset.objects.get(pk=bad)
    assert (asset.tagging_state, asset.due_at, asset.error_code) == ("failed", None, code)
    assert TaggingRun.objects.filter(asset=bad).count() == 1
    assert Asset.objects.get(pk=good).tagging_state == Asset.State.TAGGED
    assert not Circuit.objects.exclude(opened_at=None).exists()


@pytest.mark.parametrize(("status", "body", "code"), OF_THE_ACCOUNT)
def test_an_error_that_names_the_account_stops_all_calls(
    script: Any, status: int, body: str, code: str
) -> None:
    first, second = queued(2)
    script[:] = [refusal(status, body), scripted.reply({"sky": 90})]
    queue.tag(first)
    queue.tag(second)
    assert Circuit.objects.get().error_code == code
    assert set(Asset.objects.values_list("tagging_state", flat=True)) == {"queued"}
    assert len(scripted.asked) == 1


def by_file(refused: set[str]) -> Callable[[Source], Any]:
    def answer(source: Source) -> Any:
        if source.reference in refused:
            raise refusal(*OF_A_FILE[0][:2])
        return scripted.reply({"sky": 90})

    return answer


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("refused", [{0, 1, 2}, {3, 7, 9}, {9, 10, 11}])
def test_files_of_another_app_do_not_hold_up_the_others(
    script: Any, refused: set[int], together: bool
) -> None:
    ids = queued(12)
    script[:] = [by_file({f"h{number}" for number in refused})]
    if together:
        works = [
            item for item in asset_leases.acquire(ids) if isinstance(item, asset_leases.Lease)
        ]
        queue.apply_replies([(work, answer_of(script[0], work.source)) for work in works])
    else:
        for pk in ids:
            queue.tag(pk)
    states = list(Asset.objects.order_by("pk").values_list("tagging_state", flat=True))
    assert states == ["failed" if n in refused else "tagged" for n in range(12)]
    assert TaggingRun.objects.count() == 12
    assert not Circuit.objects.exclude(opened_at=None).exists()


def answer_of(answer: Callable[[Source], Any], source: Source) -> Any:
    try:
        return answer(source)
    except FilestackError as error:
        return error


def test_when_every_file_is_refused_calls_stop(script: Any) -> None:
    ids = queued(9)
    script[:] = [refusal(*OF_A_FILE[0][:2])]
    for pk in ids:
        queue.tag(pk)
    assert len(scripted.asked) == 5
    assert Circuit.objects.get().opened_at
    assert Asset.objects.filter(tagging_state="queued", attempts=0).count() == 4
