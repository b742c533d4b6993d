"""A write with a false precondition is a 412 and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.http import http_date
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api.problems import PREFIX
from filestack_tags.curation import saved_searches
from filestack_tags.models import Asset, SavedSearch, Tag

from .rows import tagged

pytestmark = pytest.mark.django_db

Write = tuple[str, str, Any]


@pytest.fixture
def api(client_of: Any) -> APIClient:
    searches = (f"{verb}_savedsearch" for verb in ("view", "add", "change", "delete"))
    assets = ("view_asset", "add_asset", "change_asset", "delete_asset", "tag_asset")
    made: APIClient = client_of(*assets, "view_tag", "change_tag", *searches)
    return made


@pytest.fixture
def asset(api: APIClient) -> Asset:
    made = tagged("h1", {"sky": 90}, filename="a.jpg")
    tagged("h2", {"sea": 90})
    curation.add_alias(Tag.objects.get(key="sky").pk, "heaven")
    user = User.objects.get(username="client0")
    saved_searches.save(saved_searches.SavedSearchInput(name="mine", query="sky"), user=user)
    return made


WITH_ETAG: list[Callable[[Asset], Write]] = [
    lambda asset: ("patch", f"assets/{asset.pk}/", {"filename": "b.jpg"}),
    lambda asset: ("delete", f"assets/{asset.pk}/", None),
    lambda asset: ("put", f"assets/{asset.pk}/tags/sky/", {"decision": "rejected"}),
    lambda asset: ("patch", f"assets/{asset.pk}/tags/sky/", {"decision": "rejected"}),
    lambda asset: ("post", f"assets/{asset.pk}/tags/", {"name": "new"}),
    lambda asset: ("patch", "tags/sky/", {"hidden": True}),
    lambda asset: ("patch", f"saved-searches/{SavedSearch.objects.get().pk}/", {"name": "b"}),
    lambda asset: ("delete", f"saved-searches/{SavedSearch.objects.get().pk}/", None),
    lambda asset: ("post", "saved-searches/", {"name": "other"}),
    lambda asset: ("post", "assets/", {"handle": "h3"}),
    lambda asset: ("post", "jobs/", {"action": "archive", "q": "sky"}),
]
WITHOUT: list[Callable[[Asset], Write]] = [
    lambda asset: ("post", f"assets/{asset.pk}/retag/", None),
    lambda asset: ("post", "tags/sky/aliases/", {"name": "new"}),
    lambda asset: ("delete", "tags/sky/aliases/heaven/", None),
    lambda asset: ("post", "jobs/preview/", {"action": "archive"}),
]


def send(api: APIClient, write: Write, **headers: str) -> Any:
    method, path, body = write
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return getattr(api, method)(f"/api/v1/{path}", body, format="json", headers=named)


def require_refused(reply: Any) -> None:
    assert (reply.status_code, reply.json()["type"]) == (412, PREFIX + "precondition-failed")


@pytest.mark.parametrize("number", range(len(WITH_ETAG)))
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_a_write_is_done_only_if_its_precondition_is_true(
    api: APIClient, asset: Asset, number: int, header: str
) -> None:
    write = WITH_ETAG[number](asset)
    etag = api.get(f"/api/v1/{write[1]}")["ETag"]
    false = [etag, f'"x", {etag}', "*"] if header == "If-None-Match" else ['"old"', "", ","]
    for value in false:
        require_refused(send(api, write, **{header.replace("-", "_"): value}))
        assert api.get(f"/api/v1/{write[1]}")["ETag"] == etag
    true = '"old"' if header == "If-None-Match" else f'"x", {etag}'
    assert send(api, write, **{header.replace("-", "_"): true}).status_code < 300
    changed = api.get(f"/api/v1/{write[1]}")
    assert changed.status_code == 404 or changed["ETag"] != etag


@pytest.mark.parametrize("number", range(len(WITHOUT)))
def test_an_address_without_an_etag_matches_none(
    api: APIClient, asset: Asset, number: int
) -> None:
    write = WITHOUT[number](asset)
    require_refused(send(api, write, If_Match='"x"'))
    require_refused(send(api, write, If_Match="*"))
    assert send(api, write, If_None_Match='"x"').status_code < 300


@pytest.mark.parametrize("header", ["If_Match", "If_None_Match"])
@pytest.mark.parametrize("value", ["x", '"x', '"x" "y"', 'w/"x"', '*, "x"', '"a b"'])
def test_a_malformed_list_of_etags_is_rejected(
    api: APIClient, asset: Asset, header: str, value: str
) -> None:
    write = ("patch", f"assets/{asset.pk}/", {"filename": "b.jpg"})
    reply = send(api, write, **{header: value})
    assert reply.status_code == 400
    assert reply.json()["type"] == PREFIX + "invalid-parameter"
    assert reply.json()["parameter"] == header.replace("_", "-")
    asset.refresh_from_db()
    assert asset.filename == "a.jpg"


def test_a_get_with_parameters_of_its_own_gives_a_write_no_etag(
    api: APIClient, asset: Asset
) -> None:
    write = ("post", "tags/sky/merge/", {"into": "sea"})
    require_refused(send(api, write, If_Match="*"))
    assert send(api, write, If_None_Match="*").status_code == 202


def test_what_somebody_changed_meanwhile_is_not_overwritten(
    api: APIClient, asset: Asset
) -> None:
    path = f"/api/v1/assets/{asset.pk}/"
    read = api.get(path)["ETag"]
    api.patch(path, {"filename": "theirs.jpg"}, format="json")
    require_refused(
        send(api, ("patch", f"assets/{asset.pk}/", {"filename": "b"}), If_Match=read)
    )
    asset.refresh_from_db()
    assert asset.filename == "theirs.jpg"
    strong = api.get(path)["ETag"].removeprefix("W/")
    reply = send(api, ("patch", f"assets/{asset.pk}/", {"filename": "b"}), If_Match=strong)
    assert reply.status_code == 200


@pytest.mark.parametrize("number", [0, 1, 6, 7])
def test_a_write_takes_the_time_of_the_last_change(
    api: APIClient, asset: Asset, number: int
) -> None:
    write = WITH_ETAG[number](asset)
    past = http_date((timezone.now() - timedelta(hours=1)).timestamp())
    now = http_date((timezone.now() + timedelta(seconds=1)).timestamp())
    require_refused(send(api, write, If_Unmodified_Since=past))
    etag = api.get(f"/api/v1/{write[1]}")["ETag"]
    assert send(api, write, If_Unmodified_Since="yesterday", If_Match='"x"').status_code == 412
    assert send(api, write, If_Unmodified_Since=past, If_Match=etag).status_code < 300
    if write[0] == "patch":
        assert send(api, write, If_Unmodified_Since=now).status_code < 300


def test_errors_of_the_address_come_first(api: APIClient, client_of: Any, asset: Asset) -> None:
    for path in ("assets/99/", "assets/x/", "tags/none/", "saved-searches/99/"):
        assert send(api, ("patch", path, {}), If_Match='"x"').status_code == 404
    viewer = client_of("view_asset")
    write = ("patch", f"assets/{asset.pk}/", {"filename": "b"})
    assert send(viewer, write, If_Match='"x"').status_code == 403
    assert send(APIClient(), write, If_Match='"x"').status_code in (401, 403)
