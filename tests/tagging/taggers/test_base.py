"""Taggers are chosen by name or dotted path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.payloads import TagsReply
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging.taggers import JobTagger, TaggerReply, TagScore, get_tagger
from filestack_tags.tagging.taggers.base import is_paid

if TYPE_CHECKING:
    from pytest_django import Settings


class HostTagger:
    """A tagger as a host project writes one."""

    name = "host"

    def tag(self, source: Source) -> TaggerReply:
        return TaggerReply((TagScore(source.reference, 7),), raw="")


def make_host_tagger() -> HostTagger:
    return HostTagger()


def broken() -> HostTagger:
    raise RuntimeError


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


@pytest.mark.parametrize("name", ["workflow:look", "workflow:", "os.abort", "flestack", ""])
@pytest.mark.parametrize("default", ["filestack", "workflow:look"])
def test_an_unknown_name_is_rejected_with_the_allowed_names(
    settings: Settings, name: str, default: str
) -> None:
    settings.FILESTACK_TAGS = {
        "WORKFLOWS": {"a": "1"}, "TAGGERS": {"host": f"{__name__}.HostTagger"}, "TAGGER": default
    }  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        get_tagger(name)
    assert str(caught.value) == (
        f"There is no tagger {name!r}. Use one of: filestack, workflow, local, workflow:a, host."
    )


def test_without_a_name_the_setting_decides(settings: Settings) -> None:
    assert get_tagger().name == "filestack"
    settings.FILESTACK_TAGS = {"TAGGER": "local"}
    assert get_tagger().name == "local"


@pytest.mark.parametrize("attribute", ["HostTagger", "make_host_tagger"])
@pytest.mark.parametrize("by_name", [True, False])
def test_settings_name_a_class_or_a_factory_by_its_dotted_path(
    settings: Settings, attribute: str, *, by_name: bool
) -> None:
    path = f"{__name__}.{attribute}"
    settings.FILESTACK_TAGS = {"TAGGERS": {"host": path}} if by_name else {"TAGGER": path}
    tagger = get_tagger("host" if by_name else None)
    assert isinstance(tagger, HostTagger)
    assert tagger.tag(Source.handle("HANDLE")) == TaggerReply((TagScore("HANDLE", 7),), raw="")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("flestack", "cannot be imported"),
        ("no.such.Module", "cannot be imported"),
        (f"{__name__}.NotThere", "cannot be imported"),
        (f"{__name__}.NOT_CALLABLE", "is not a class or a function"),
        (f"{__name__}.broken", "cannot be created: RuntimeError"),
    ],
)
def test_settings_that_name_no_tagger_are_a_configuration_error(
    settings: Settings, path: str, why: str
) -> None:
    settings.FILESTACK_TAGS = {"TAGGERS": {"host": path}}
    with pytest.raises(ConfigurationError, match=f"^The tagger 'host' {why}"):
        get_tagger("host")
    assert not is_paid("host")


def test_only_a_tagger_with_jobs_can_be_followed() -> None:
    assert isinstance(get_tagger("workflow"), JobTagger)
    assert not isinstance(get_tagger("filestack"), JobTagger)


def test_auto_and_user_tags_are_kept_apart() -> None:
    reply = TagsReply(auto={"sky": 90}, user={"sky": 100}, raw="{}", http_status=200)
    assert TaggerReply.of(reply, version=1) == TaggerReply(
        (TagScore("sky", 90, "auto"), TagScore("sky", 100, "user")), "{}", 200, 1
    )
