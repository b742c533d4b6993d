"""No body field accepts another JSON type than in the schema, and none is converted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework import serializers
from rest_framework.test import APIClient

from filestack_tags.api import fields
from filestack_tags.api.serializers import Body
from filestack_tags.api.urls import router
from filestack_tags.models import Tag

from .rows import tagged

OF_ANOTHER_TYPE: dict[type[serializers.Field[Any, Any, Any, Any]], tuple[Any, ...]] = {
    fields.Text: (0, 1, -1, 1.5, True, False, [], ["a"], {}, {"a": "b"}),
    fields.Integer: ("1", "", "true", True, False, 1.5, 1e400, [], [1], {}),
    fields.Boolean: ("true", "false", "", "yes", 0, 1, 1.0, [], [True], {}),
    fields.Choice: (0, 1, True, False, 1.5, [], {}, ["csv"]),
    fields.Strings: ("", "a", 1, True, [], [["a", "b"]], {"a": 1}, {"a": True}, {"a": None}),
    serializers.ListField: ("", "12", 1, True, {}, {"0": 1}, ["1", "2"], [True, False], [None]),
}


def bodies() -> list[type[Body]]:
    found = {
        getattr(url.callback.cls, action).operation.body
        for url in router.urls
        for action in url.callback.actions.values()
    }
    return sorted(found - {None}, key=lambda body: str(body.__name__))


def each_field() -> Iterator[tuple[type[Body], str, Any]]:
    """Yield body, field name and wrong value."""
    for body in bodies():
        for name, field in body().fields.items():
            kind = next(kind for kind in OF_ANOTHER_TYPE if isinstance(field, kind))
            for value in OF_ANOTHER_TYPE[kind]:
                yield body, name, value
            if not field.allow_null:
                yield body, name, None


@pytest.mark.parametrize("body", bodies(), ids=lambda body: body.__name__)
def test_a_field_of_another_json_type_is_rejected(body: type[Body]) -> None:
    wrong = [(name, value) for kind, name, value in each_field() if kind is body]
    assert wrong
    for name, value in wrong:
        form = body(data={name: value})
        assert not form.is_valid(), (name, value)
        assert name in form.errors, (name, value)


def test_every_field_is_of_a_kind_that_converts_nothing() -> None:
    for body in bodies():
        for name, field in body().fields.items():
            each: Any = field
            if isinstance(each, serializers.ListField):
                assert each.min_length, f"{body.__name__}.{name} has no least length"
                each = each.child
            assert type(each).__module__ == fields.__name__, f"{body.__name__}.{name}"


@pytest.mark.django_db
@pytest.mark.parametrize("name", [0, 1, True, False, 1.5, [], {}, None])
def test_a_name_that_is_no_string_makes_no_tag(api: APIClient, name: Any) -> None:
    asset = tagged("h1", {"sky": 90})
    reply = api.post(f"/api/v1/assets/{asset.pk}/tags/", {"name": name}, format="json")
    assert reply.status_code == 400, reply.content
    assert [error["field"] for error in reply.json()["errors"]] == ["name"]
    assert [*Tag.objects.values_list("key", flat=True)] == ["sky"]


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["50", True, 50.5, "", [50]])
def test_a_confidence_that_is_no_integer_is_rejected(api: APIClient, value: Any) -> None:
    asset = tagged("h1", {"sky": 90})
    path = f"/api/v1/assets/{asset.pk}/tags/sky/"
    reply = api.patch(path, {"confidence": value}, format="json")
    assert reply.status_code == 400, reply.content
    assert api.get(path).json()["confidence"] == 90


@pytest.mark.django_db
def test_a_number_without_a_fraction_is_an_integer_as_json_schema_says(api: APIClient) -> None:
    asset = tagged("h1", {"sky": 90})
    path = f"/api/v1/assets/{asset.pk}/tags/sky/"
    reply = api.generic("PATCH", path, '{"confidence": 5e1}', content_type="application/json")
    assert reply.status_code == 200, reply.content
    assert json.loads(reply.content)["tag"]["confidence"] == 50


@pytest.mark.django_db
def test_a_text_is_as_long_as_it_was_sent(api: APIClient) -> None:
    asset = tagged("h1", {"sky": 90})
    path = f"/api/v1/assets/{asset.pk}/"
    for text, status in (("x" * 255, 200), ("x" * 256, 400), (" " * 255 + "x", 400)):
        reply = api.patch(path, {"mimetype": text}, format="json")
        assert reply.status_code == status, text
