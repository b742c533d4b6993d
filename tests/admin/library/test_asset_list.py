"""The asset list: searching, filtering, badges, actions."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.models import Asset, Tag
from filestack_tags.search import completion
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"


@pytest.fixture
def three(db: None) -> None:
    tagged("first", {"sky": 90, "person": 60}, mimetype="image/jpeg")
    tagged("second", {"sky": 60, "sea": 95}, mimetype="video/mp4")
    tagged("third", {"sea": 40}, {"sky": 100})


def found(client: Client, **query: str) -> set[str]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return {asset.reference for asset in response.context["cl"].result_list}


def act(client: Client, action: str, *chosen: Asset, query: str = "", **data: Any) -> Any:
    return client.post(
        LIST + query,
        {"action": action, "index": 0, "_selected_action": [row.pk for row in chosen], **data},
        follow=True,
    )


def said(response: Any) -> list[str]:
    """Return the messages under the search box, and those of the page."""
    shown = response.context.get("cl")
    below = [shown.problem, *shown.unknown] if shown else []
    return [str(each) for each in (*below, *response.context["messages"]) if each]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"first", "second", "third"}),
        ({"q": "sky>=80 -person"}, {"third"}),
        ({"q": "sky sea OR person"}, {"first", "second", "third"}),
        ({"tag": "SKY "}, {"first", "second", "third"}),
        ({"tag": "sky", "confidence": "75"}, {"first", "third"}),
        ({"tag": "sky", "confidence": "75", "source": "user"}, {"third"}),
        ({"confidence": "90"}, {"first", "second", "third"}),
        ({"tag": "sea", "confidence": "90"}, {"second"}),
        ({"source": "user"}, {"third"}),
        ({"decision": "accepted"}, set()),
        ({"decision": "nonsense", "source": "nonsense", "confidence": "7"}, None),
        ({"tag": "nowhere"}, set()),
        ({"tag": "sky", "q": "person"}, {"first"}),
        ({"family": "image"}, {"first"}),
        ({"family": "video"}, {"second"}),
        ({"family": "unknown"}, {"third"}),
        ({"family": "nonsense"}, {"first", "second", "third"}),
        ({"tagging_state__exact": "tagged"}, {"first", "second", "third"}),
        ({"tagging_state__exact": "failed"}, set()),
        ({"kind__exact": "url"}, set()),
        ({"presence": "archived"}, set()),
    ],
)
def test_search_and_filters_narrow_the_list_together(
    editor: Client, three: None, query: dict[str, str], expected: set[str] | None
) -> None:
    """Confidence, source and decision are those of the tag in the filter."""
    assert found(editor, **query) == (expected or (set() if expected == set() else ALL))


ALL = {"first", "second", "third"}


def test_a_decision_is_found_in_the_row_of_the_tag(editor: Client, three: None) -> None:
    ids = dict(Tag.objects.values_list("key", "pk"))
    first = Asset.objects.get(reference="first")
    curation.reject(first.pk, ids["sky"], user=None)
    curation.accept(first.pk, ids["person"], user=None)
    assert found(editor, tag="sky", decision="rejected") == {"first"}
    assert found(editor, tag="sky", decision="accepted") == set()
    assert found(editor, tag="person", decision="accepted") == {"first"}
    assert found(editor, tag="sky") == {"second", "third"}


def test_the_filter_form_keeps_the_search_and_the_other_filters(
    editor: Client, three: None, page: Any
) -> None:
    shown = page(editor.get(LIST, {"q": "sea", "kind__exact": "handle", "tag": "sky"}))
    assert shown.inputs["kind__exact"] == "handle"
    assert shown.inputs["tag"] == "sky"
    assert shown.links["Clear"] == "?kind__exact=handle&q=sea"


def test_the_filter_offers_the_most_used_tags_and_no_hidden_ones(
    editor: Client, page: Any
) -> None:
    for number in range(25):
        tagged(f"h{number}", {"everywhere": 90, f"tag{number}": 50, "secret": 90})
    curation.hide(Tag.objects.get(key="secret").pk)
    completion.clear_cache()
    html = page(editor.get(LIST)).html
    options = html.split("<datalist", 1)[1].split("</datalist>")[0]
    assert options.count("<option") == 20
    assert options.index('"everywhere"') < options.index('"tag')
    assert "secret" not in options


def test_a_tag_that_cannot_be_one_is_explained(editor: Client, three: None) -> None:
    response = editor.get(LIST, {"tag": "x" * 201})
    assert list(response.context["cl"].result_list) == []
    assert "at most 200 characters" in said(response)[0]


def test_a_search_that_cannot_be_read_is_marked_and_corrected(
    editor: Client, three: None, page: Any
) -> None:
    response = editor.get(LIST, {"q": "sky=>80"})
    assert list(response.context["cl"].result_list) == []
    assert "<mark>&gt;</mark>80" in said(response)[0]
    assert page(response).links["sky>=80"] == "?q=sky%3E%3D80"


def test_a_search_is_marked_at_its_end_and_never_as_markup(editor: Client) -> None:
    assert "<mark>␣</mark>" in said(editor.get(LIST, {"q": "sky ("}))[0]
    assert "<script>" not in said(editor.get(LIST, {"q": "<script>( "}))[0]


def test_an_unknown_tag_gets_a_hint_with_near_names(
    editor: Client, three: None, page: Any
) -> None:
    response = editor.get(LIST, {"q": "persn -nowhere"})
    assert "There is no tag “persn”. Did you mean" in said(response)[0]
    assert said(response)[1] == "There is no tag “nowhere”."
    assert page(response).links["person"] == "?q=person"


def test_a_word_that_was_meant_as_an_operator_is_hinted_in_upper_case(
    editor: Client, three: None
) -> None:
    response = editor.get(LIST, {"q": "sky or sea"})
    assert said(response) == ["There is no tag “or”. Did you mean OR"]


def test_hidden_tags_are_searched_with_the_permission_only(client_of: Any, three: None) -> None:
    curation.hide(Tag.objects.get(key="sky").pk)
    query = "sky include:hidden"
    assert found(client_of("view_asset", "search_hidden"), q=query) == ALL
    response = client_of("view_asset").get(LIST, {"q": query})
    assert list(response.context["cl"].result_list) == []


def test_badges_are_sorted_marked_and_leave_out_what_is_rejected(
    editor: Client, page: Any
) -> None:
    asset = tagged("h1", {f"tag{number}": number for number in range(50, 60)} | {"no": 99})
    ids = dict(Tag.objects.values_list("key", "pk"))
    curation.reject(asset.pk, ids["no"], user=None)
    curation.accept(asset.pk, ids["tag58"], user=None)
    shown = page(editor.get(LIST))
    assert "tag59 59 ✓ tag58 58 accepted tag57 57" in shown.text
    assert "no 99" not in shown.text
    assert "tag51" not in shown.text
    assert shown.links["2 more"] == f"{LIST}{asset.pk}/change/#tags"


def test_a_picture_is_lazy_and_has_alternative_text(editor: Client, page: Any) -> None:
    asset = tagged("h1", filename="בית.jpg")
    (image,) = [row for row in page(editor.get(LIST)).images if row.get("loading")]
    assert image["loading"] == "lazy"
    assert image["alt"] == "Preview of בית.jpg"
    assert image["src"] == f"{LIST}{asset.pk}/thumbnail/?height=320&v=1"


def test_a_file_without_picture_says_so(editor: Client, page: Any) -> None:
    tagged("h1", mimetype="application/pdf")
    shown = page(editor.get(LIST))
    assert "no preview" in shown.text
    assert not [row for row in shown.images if row.get("loading")]


def test_an_empty_list_says_how_to_begin(client_of: Any, page: Any) -> None:
    shown = page(client_of("view_asset", "add_asset").get(LIST))
    assert "There are no assets yet." in shown.text
    assert shown.links["Register a file"] == f"{LIST}add/"
    assert "Register a file" not in page(client_of("view_asset").get(LIST)).links


def test_a_search_without_result_leads_back_to_all(editor: Client, page: Any) -> None:
    tagged("h1", {"sky": 90})
    shown = page(editor.get(LIST, {"q": "untagged"}))
    assert "No assets match." in shown.text
    assert shown.links["Show all assets"] == LIST


def test_pages_hold_fifty_assets(editor: Client, page: Any) -> None:
    for number in range(51):
        tagged(f"h{number}")
    response = editor.get(LIST)
    assert len(response.context["cl"].result_list) == 50
    (last,) = editor.get(LIST + page(response).links["Next"]).context["cl"].result_list
    assert last.reference == "h0"


def test_facets_cannot_be_switched_on(editor: Client, page: Any) -> None:
    shown = page(editor.get(LIST, {"_facets": "True"}))
    assert "Show counts" not in shown.text
    assert "Hide counts" not in shown.text


def test_tag_now_queues_what_has_no_tags_and_reports_the_rest(editor: Client) -> None:
    new, done = tagged("new"), tagged("done", {"sky": 90})
    response = act(editor, "tag_now", new, done)
    assert said(response) == [
        "1 asset queued.",
        "1 asset already has tags or is being tagged.",
    ]
    new.refresh_from_db()
    assert (new.tagging_state, new.queued_by) == ("queued", "admin")


def test_retag_queues_what_has_tags_too(editor: Client) -> None:
    new, done = tagged("new"), tagged("done", {"sky": 90})
    assert said(act(editor, "retag", new, done)) == ["2 assets queued."]
    Asset.objects.filter(pk=done.pk).update(tagging_state="running", due_at=timezone.now())
    assert said(act(editor, "retag", done)) == [
        "0 assets queued.",
        "1 asset is already being tagged.",
    ]


def test_each_workflow_is_an_action_for_who_may_tag(
    editor: Client, client_of: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "WORKFLOW_ID": "wf-0", "WORKFLOWS": {"look": "wf-1", "usual": "wf-2"},
        "TAGGER": "workflow:usual",
    }  # fmt: skip
    actions = dict(editor.get(LIST).context["action_form"].fields["action"].choices)
    assert actions["workflow"] == "Run the workflow on selected assets"
    assert actions["workflow:look"] == "Run the workflow look on selected assets"
    assert "workflow:usual" not in actions
    done = tagged("done", {"sky": 90})
    act(client_of("view_asset"), "workflow:look", done)
    done.refresh_from_db()
    assert done.tagging_state != "queued"
    assert said(act(editor, "workflow:look", done)) == ["1 asset queued."]
    done.refresh_from_db()
    assert (done.tagging_state, done.queued_for) == ("queued", "workflow:look")
    registry.archive(done.pk)
    gone = editor.get(LIST, {"presence": "archived"}).context["action_form"]
    assert "workflow:look" not in dict(gone.fields["action"].choices)


def test_archiving_asks_first_and_can_be_undone(editor: Client, page: Any) -> None:
    asset, other = tagged("h1", {"sky": 90}), tagged("h2")
    question = page(act(editor, "archive", asset))
    assert "Searches will no longer find these assets." in question.text
    assert question.inputs["_selected_action"] == str(asset.pk)
    assert Asset.objects.present().count() == 2
    assert said(act(editor, "archive", asset, confirmed="1")) == ["1 asset archived."]
    assert found(editor) == {"h2"}
    assert found(editor, presence="archived") == {"h1"}
    assert found(editor, presence="archived", q="sky") == {"h1"}
    response = act(editor, "restore", asset, query="?presence=archived")
    assert said(response) == ["1 asset restored."]
    assert found(editor) == {"h1", "h2"}
    assert other.asset_tags.count() == 0


def test_actions_fit_what_is_shown(editor: Client) -> None:
    asset = tagged("h1")
    actions = editor.get(LIST).context["action_form"].fields["action"].choices
    assert {value for value, _label in actions} == {
        "",
        "in_bulk",
        "tag_now",
        "retag",
        "archive",
    }
    registry.archive(asset.pk)
    gone = editor.get(LIST, {"presence": "archived"}).context["action_form"]
    assert {value for value, _label in gone.fields["action"].choices} == {"", "restore"}


@pytest.mark.parametrize(
    "action", ["tag_now", "retag", "archive", "restore", "delete_selected"]
)
def test_users_who_may_only_view_can_export_and_post_no_other_action(
    client_of: Any, page: Any, action: str
) -> None:
    asset = tagged("h1", {"sky": 90})
    viewer = client_of("view_asset")
    shown = page(viewer.get(LIST))
    choices = viewer.get(LIST).context["action_form"].fields["action"].choices
    assert {value for value, _label in choices} == {"", "in_bulk"}
    assert "Add asset" not in shown.text
    act(viewer, action, asset, confirmed="1", post="yes")
    asset.refresh_from_db()
    assert (asset.tagging_state, asset.deleted_at) == ("tagged", None)


def test_who_may_not_look_sees_nothing(client_of: Any) -> None:
    assert client_of("view_tag").get(LIST).status_code == 403


def test_nothing_is_deleted_even_by_a_superuser(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    asset = tagged("h1")
    assert client.post(f"{LIST}{asset.pk}/delete/", {"post": "yes"}).status_code == 403
    act(client, "delete_selected", asset, post="yes")
    assert Asset.objects.count() == 1
