"""The tags' screen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from filestack_tags import curation
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Tag, TagAlias
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/tag/"


@pytest.fixture
def sky(db: None) -> Tag:
    tagged("h1", {"Sky": 90, "sea": 80})
    return Tag.objects.get(key="sky")


def save(client: Client, tag: Tag, **data: str) -> Any:
    said = {"name": tag.name, "min_confidence": "", "aliases": ""} | data
    return client.post(f"{LIST}{tag.pk}/change/", said, follow=True)


def aliases(tag: Tag) -> list[str]:
    return list(tag.aliases.values_list("key", flat=True))


def test_the_list_shows_counts_that_lead_to_the_assets(
    editor: Client, sky: Tag, page: Any
) -> None:
    curation.add_alias(sky.pk, "heaven")
    shown = page(editor.get(LIST))
    assert "heaven" in shown.text
    link = str(shown.links["1"])
    (asset,) = editor.get(link).context["cl"].result_list
    assert asset.reference == "h1"


@pytest.mark.parametrize(
    ("query", "expected"),
    [("SK", {"sky"}), ("heav", {"sky"}), ("s", {"sky", "sea"}), (" ", None)],
)
def test_tags_are_found_by_part_of_their_name_or_alias(
    editor: Client, sky: Tag, query: str, expected: set[str] | None
) -> None:
    curation.add_alias(sky.pk, "heaven")
    rows = editor.get(LIST, {"q": query}).context["cl"].result_list
    assert {tag.key for tag in rows} == (expected or {"sky", "sea"})


@pytest.mark.parametrize("count", [3, 30])
def test_the_list_takes_as_many_queries_for_thirty_tags_as_for_three(
    editor: Client, django_assert_num_queries: Any, count: int
) -> None:
    for number in range(count):
        tag = Tag.objects.create(key=f"t{number}", name=f"t{number}")
        curation.add_alias(tag.pk, f"alias{number}")
    with django_assert_num_queries(7):  # session, user, permissions twice, count, tags, aliases
        assert len(editor.get(LIST).context["cl"].result_list) == count


def test_minimum_hiding_and_aliases_are_saved(editor: Client, sky: Tag) -> None:
    curation.add_alias(sky.pk, "old")
    save(editor, sky, min_confidence="60", hidden="on", aliases="Heaven\n\n  blue  sky \n")
    sky.refresh_from_db()
    assert (sky.min_confidence, sky.hidden) == (60, True)
    assert aliases(sky) == ["blue sky", "heaven"]
    save(editor, sky, aliases="heaven")
    sky.refresh_from_db()
    assert (sky.min_confidence, sky.hidden) == (None, False)
    assert aliases(sky) == ["heaven"]


def test_a_renamed_tag_is_still_reached_by_its_former_name(editor: Client, sky: Tag) -> None:
    curation.add_alias(sky.pk, "heaven")
    save(editor, sky, name="Firmament", aliases="heaven\nabove")
    sky.refresh_from_db()
    assert (sky.key, sky.name) == ("firmament", "Firmament")
    assert aliases(sky) == ["above", "heaven", "sky"]


def test_an_alias_can_become_the_name(editor: Client, sky: Tag) -> None:
    curation.add_alias(sky.pk, "heaven")
    save(editor, sky, name="heaven", aliases="heaven")
    sky.refresh_from_db()
    assert sky.key == "heaven"
    assert aliases(sky) == ["sky"]


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"name": ""}, "name", "required"),
        ({"name": "sea"}, "name", "Another tag already uses sea."),
        ({"name": "ocean"}, "name", "Another tag already uses ocean."),
        ({"name": "a\x01"}, "name", "control characters"),
        ({"aliases": "sea"}, "aliases", "Another tag already uses sea."),
        ({"aliases": "ok\nOCEAN"}, "aliases", "Another tag already uses ocean."),
        ({"aliases": "x" * 201}, "aliases", "at most 200"),
        ({"aliases": "SKY"}, "aliases", "cannot be its alias"),
        ({"name": "new", "aliases": "New"}, "aliases", "cannot be its alias"),
        ({"min_confidence": "101"}, None, None),
        ({"min_confidence": "-1"}, "min_confidence", "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_saved_is_refused_at_the_field(
    editor: Client, sky: Tag, data: dict[str, str], field: str | None, message: str | None
) -> None:
    curation.add_alias(Tag.objects.get(key="sea").pk, "ocean")
    errors = save(editor, sky, **data).context["adminform"].errors
    if field is None:
        assert errors
    else:
        assert list(errors) == [field]
        assert str(message) in errors[field][0]
    sky.refresh_from_db()
    assert (sky.name, sky.min_confidence) == ("Sky", None)
    assert aliases(sky) == []


def test_a_name_taken_in_the_meantime_is_explained_and_nothing_is_saved(
    editor: Client, sky: Tag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form's own check is disabled, as if the other tag was created after it."""
    blind = SimpleNamespace(existing_ids=lambda keys: {})
    monkeypatch.setattr("filestack_tags.admin.forms.tags", blind)

    response = save(editor, sky, min_confidence="60", aliases="above\nsea")
    assert "Another tag is called 'sea'" in str(next(iter(response.context["messages"])))
    sky.refresh_from_db()
    assert sky.min_confidence is None
    assert not TagAlias.objects.exists()
    with pytest.raises(CurationError):
        curation.add_alias(sky.pk, "sea")


def test_who_may_only_look_cannot_save(client_of: Any, sky: Tag, page: Any) -> None:
    viewer = client_of("view_tag")
    curation.add_alias(sky.pk, "heaven")
    shown = page(viewer.get(f"{LIST}{sky.pk}/change/"))
    assert "heaven" in shown.text
    assert "name" not in shown.inputs
    assert viewer.post(f"{LIST}{sky.pk}/change/", {"name": "x"}).status_code == 403


def test_tags_are_neither_made_nor_deleted_here(editor: Client, sky: Tag) -> None:
    assert editor.get(f"{LIST}add/").status_code == 403
    assert editor.post(f"{LIST}{sky.pk}/delete/", {"post": "yes"}).status_code == 403


def test_hidden_tags_are_listed_to_who_may_change_or_search_them(
    client_of: Any, sky: Tag, page: Any
) -> None:
    curation.hide(sky.pk)
    for permissions, is_named in (
        (("view_tag",), False),
        (("view_tag", "change_tag"), True),
        (("view_tag", "search_hidden"), True),
    ):
        client = client_of(*permissions)
        assert ("Sky" in page(client.get(LIST)).text) is is_named
        found = client.get(f"{LIST}{sky.pk}/change/").status_code
        assert (found == 200) is is_named
