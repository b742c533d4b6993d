"""Taggers are chosen by name or dotted path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.payloads import TagsReply
from filestack_tags.filestack.sources import Source
from filestack_tags.taggers import JobTagger, TaggerReply, TagScore, get_tagger
from filestack_tags.taggers.base import is_paid

if TYPE_CHECKING:
    from pytest_django import Settings


class HostTagger:
    """A tagger as a host project writes one."""

    name = "host"

    def tag(self, source: Source) -> TaggerReply:
        return TaggerReply((TagScore(source.reference, 7),), raw="")


def make_host_tagger() -> HostTagger:
    return HostTagger()


NOT_CALLABLE = 1


@pytest.mark.parametrize("name", ["filestack", "workflow", "local"])
def test_a_built_in_tagger_goes_by_its_name(name: str) -> None:
    assert get_tagger(name).name == name


def test_a_workflow_that_the_settings_name_is_a_tagger(settings: Settings) -> None:
    settings.FILESTACK_TAGS = {"WORKFLOWS": {"look": "wf-1"}}
    tagger = get_tagger("workflow:look")
    assert tagger.name == "workflow:look"
    assert isinstance(tagger, JobTagger)
    assert is_paid("workflow:look")


@pytest.mark.parametrize(
    ("known", "says"),
    [({"b": "2", "a": "1"}, "It names: a, b."), ({}, "It is empty.")],
)
def test_an_unknown_workflow_is_refused_with_those_there_are(
    settings: Settings, known: dict[str, str], says: str
) -> None:
    settings.FILESTACK_TAGS = {"WORKFLOWS": known}
    with pytest.raises(ConfigurationError) as caught:
        get_tagger("workflow:look")
    assert str(caught.value) == (
        "There is no tagger 'workflow:look': FILESTACK_TAGS['WORKFLOWS'] has no workflow "
        f"'look'. {says}"
    )


def test_without_a_name_the_setting_decides(settings: Settings) -> None:
    assert get_tagger().name == "filestack"
    settings.FILESTACK_TAGS = {"TAGGER": "local"}
    assert get_tagger().name == "local"


@pytest.mark.parametrize("attribute", ["HostTagger", "make_host_tagger"])
def test_a_dotted_path_names_a_class_or_a_factory(attribute: str) -> None:
    tagger = get_tagger(f"{__name__}.{attribute}")
    assert isinstance(tagger, HostTagger)
    assert tagger.tag(Source.handle("HANDLE")) == TaggerReply((TagScore("HANDLE", 7),), raw="")


@pytest.mark.parametrize("path", ["flestack", "", "no.such.Module", f"{__name__}.NotThere"])
def test_a_tagger_that_cannot_be_imported_is_a_configuration_error(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^TAGGER .* cannot be imported"):
        get_tagger(path)


def test_a_tagger_that_cannot_be_called_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="is not a class or a function"):
        get_tagger(f"{__name__}.NOT_CALLABLE")


def test_only_a_tagger_with_jobs_can_be_followed() -> None:
    assert isinstance(get_tagger("workflow"), JobTagger)
    assert not isinstance(get_tagger("filestack"), JobTagger)


def test_auto_and_user_tags_are_kept_apart() -> None:
    reply = TagsReply(auto={"sky": 90}, user={"sky": 100}, raw="{}", http_status=200)
    assert TaggerReply.of(reply, version=1) == TaggerReply(
        (TagScore("sky", 90, "auto"), TagScore("sky", 100, "user")), "{}", 200, 1
    )
