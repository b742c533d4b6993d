"""Any text as a search gets a response, in the API and in the admin, without a server error."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests import examples
from tests.api.rows import tagged

pytestmark = pytest.mark.slow

SHARED = [HealthCheck.function_scoped_fixture]

anything = st.text(st.characters(exclude_categories=()), max_size=40)
numbers = st.sampled_from(["0", "-1", "80", "1e9", "9" * 30, "0" * 400, "٣", "½", "NaN", "1.5"])
pieces = st.one_of(
    anything,
    numbers,
    st.sampled_from(
        ["sky", "sk*", "*", "(", ")", "-", "OR", "NOT", '"', "\\", "@user", ":", ".."]
    ),
    st.sampled_from(
        [">=", "<", "=", "size:>", "width:", "uploaded:", "tagged:<", "run:v", "by:"]
    ),
    st.sampled_from(["name:*", "handle:", "type:", "include:hidden", "@rejected", "\x00"]),
    st.sampled_from(["\ud800", "\udfff", "\u200b", "İ", "ß"]),
)
searches = st.lists(pieces, max_size=12).flatmap(
    lambda some: st.sampled_from(["", " "]).map(lambda joint: joint.join(some))
)


@pytest.fixture
def client(db: None) -> Client:
    tagged("one", {"sky": 90})
    client = Client()
    client.force_login(User.objects.create_superuser("fuzz"))
    return client


@pytest.mark.django_db
@settings(examples(60), suppress_health_check=SHARED)
@given(text=searches)
@example(text="(" * 400)
@example(text="-" * 999)
@example(text='"' + "x" * 5000)
@example(text="a" * 100_000)
@example(text="size:" + "9" * 500)
@example(text="width:>" + "9" * 30)
@example(text="uploaded:9999999999-99-99")
@example(text="sky:" + "9" * 300 + "..1")
@example(text="run:v" + "9" * 40)
@example(text="\x00\ud800")
def test_any_search_is_answered(client: Client, text: str) -> None:
    encoded = text.encode("utf-8", "surrogatepass")
    for path in ("/api/v1/assets/", "/api/v1/assets/count/", "/api/v1/assets/facets/"):
        reply = client.get(path, {"q": encoded})
        assert reply.status_code in (200, 400), (path, text)
        if reply.status_code == 400:
            assert reply.json()["detail"]
    reply = client.get("/api/v1/assets/", {"q": encoded, "include": "total,facets,hints"})
    assert reply.status_code in (200, 400), text
    reply = client.get("/admin/filestack_tags/asset/", {"q": encoded})
    assert reply.status_code == 200, text
    reply = client.get("/api/v1/tags/complete/", {"q": encoded})
    assert reply.status_code in (200, 400), text
    reply = client.get("/admin/filestack_tags/asset/complete/", {"before": encoded})
    assert reply.status_code in (200, 400), text


@pytest.mark.django_db
@settings(examples(40), suppress_health_check=SHARED)
@given(text=searches)
def test_any_search_of_a_body_is_answered(client: Client, text: str) -> None:
    for path, body in (
        ("/api/v1/jobs/preview/", {"action": "export", "q": text}),
        ("/api/v1/saved-searches/", {"name": text, "query": "sky"}),
        ("/api/v1/saved-searches/", {"name": "x", "query": text}),
    ):
        reply = client.post(path, body, content_type="application/json")
        assert reply.status_code < 500, (path, text)
