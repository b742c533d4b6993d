"""What a search may have meant, in Python, in the API and in the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import translation
from django.utils.html import escape

from filestack_tags.models import Asset
from filestack_tags.search import Search
from filestack_tags.search.hints import Hint
from filestack_tags.search.language.parser import parse
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def phrases() -> Asset:
    return tagged(
        "one",
        {
            "wall clock": 90,
            "clock": 90,
            "black and white": 80,
            "golden gate": 70,
            "golden gate bridge": 70,
        },
        filename="IMG_4602.jpg",
        mimetype="image/jpeg",
    )


@pytest.mark.parametrize(
    ("query", "phrase", "suggestion"),
    [
        ("wall clock", "wall clock", '"wall clock"'),
        ("Wall  CLOCK", "Wall CLOCK", '"Wall CLOCK"'),
        ("black and white", "black and white", '"black and white"'),
        ("golden gate bridge", "golden gate bridge", '"golden gate bridge"'),
        ("clock golden gate status:new", "golden gate", 'clock "golden gate" status:new'),
        ("sky OR wall clock", "wall clock", 'sky OR "wall clock"'),
        ("-(wall clock)", "wall clock", '-"wall clock"'),
        ('"golden gate" bridge', "golden gate bridge", '"golden gate bridge"'),
    ],
)
def test_words_that_are_one_tag_are_offered_first(query, phrase, suggestion):
    assert Search(query).hints()[0] == Hint(phrase, (), suggestion, "phrase")
    assert str(parse(suggestion)) == suggestion


def test_hints_are_for_any_typed_text():
    hints = Search("clock").hints(parse("golden gate skyy"))
    assert [hint.term for hint in hints] == ["golden gate", "skyy"]


@pytest.mark.parametrize(
    "query", ["clock wall", "wall OR clock", "wall>=50 clock", "wall -clock"]
)
def test_other_words_are_no_phrase(query):
    assert not [hint for hint in Search(query).hints() if hint.kind == "phrase"]


@pytest.mark.parametrize(
    ("query", "suggestion"),
    [
        ("IMG_4602.jpg", "name:*IMG_4602.jpg*"),
        ("clock IMG_4602", "clock name:*IMG_4602*"),
        ("name:IMG", "name:*IMG*"),
        ("type:image", "type:image/*"),
    ],
)
def test_file_names_and_types_are_offered_as_patterns(query, suggestion):
    assert [hint.suggestion for hint in Search(query).hints()] == [suggestion]
    assert Asset.objects.search(suggestion).count() == 1


@pytest.mark.parametrize("query", ["type:jpg", "type:.JPEG", "type:image/jpeg", "type:*jpeg"])
def test_an_extension_stands_for_its_type(query):
    assert Asset.objects.search(query).count() == 1
    assert parse(str(parse(query))) == parse(query)


def test_a_type_that_is_not_known_can_be_searched_for():
    tagged("two", {})
    assert Asset.objects.search("type:unknown").get().reference == "two"


@pytest.fixture
def client() -> Client:
    user = User.objects.create_user("anna", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_asset"))
    client = Client()
    client.force_login(user)
    return client


def test_the_api_returns_hints(client):
    reply = client.get("/api/v1/assets/", {"q": "wall clock", "include": "hints"}).json()
    assert reply["hints"] == [
        {"term": "wall clock", "near": [], "suggestion": '"wall clock"', "kind": "phrase"}
    ]
    assert "hints" not in client.get("/api/v1/assets/", {"q": "wall clock"}).json()


def test_the_admin_links_to_what_may_be_meant(client):
    page = client.get("/admin/filestack_tags/asset/", {"q": "black and white"}).content.decode()
    assert "?q=%22black+and+white%22" in page
    page = client.get("/admin/filestack_tags/asset/", {"q": "IMG_4602.jpg"}).content.decode()
    assert "?q=name%3A%2AIMG_4602.jpg%2A" in page


def test_errors_are_in_the_language_of_the_reader(client, monkeypatch):
    texts = {
        "%(name)s: is not a field. Did you mean %(near)s:?": "%(name)s: – etwa %(near)s:?",
        "a value": "ein Wert",
    }
    monkeypatch.setattr(
        "filestack_tags.translation._gettext", lambda text: texts.get(text, text)
    )
    problem = client.get("/api/v1/assets/", {"q": "statuz:failed"}).json()
    assert problem["detail"] == "statuz: – etwa status:?"
    assert problem["expected"] == ["status:"]
    assert client.get("/api/v1/assets/", {"q": "status:"}).json()["expected"] == ["ein Wert"]


def test_errors_follow_the_active_language():
    from filestack_tags.exceptions import SearchError
    from filestack_tags.translation import Text

    error = SearchError(Text("yes"))
    with translation.override("de"):
        assert error.message == "ja"
    assert error.message == "yes"


def test_a_german_reader_gets_errors_in_german(client, settings):
    sessions, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [sessions, "django.middleware.locale.LocaleMiddleware", *others]
    german = {"headers": {"Accept-Language": "de"}}
    with translation.override(translation.get_language()):
        unknown, near = (
            client.get("/api/v1/assets/", {"q": text}, **german).json()
            for text in ("colour:red", "statuz:failed")
        )
        place = "/admin/filestack_tags/asset/"
        page = client.get(place, {"q": "colour:red"}, **german).content.decode()
    expected = (
        "colour: ist kein Feld; "  # codespell:ignore
        "bei einem Schlagwort steht eine Konfidenz, wie in colour>=80."
    )
    assert unknown["detail"] == expected
    assert unknown["expected"] == []
    assert escape(expected) in page
    assert near["detail"] == "statuz: ist kein Feld. Meinten Sie status:?"  # codespell:ignore


def test_an_unknown_field_does_not_list_all_fields(client):
    problem = client.get("/api/v1/assets/", {"q": "colour:red"}).json()
    assert (
        problem["detail"]
        == "colour: is not a field; a tag takes a confidence, as in colour>=80."
    )
    assert problem["expected"] == []
