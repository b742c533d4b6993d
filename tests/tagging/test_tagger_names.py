"""Only taggers named in the settings are imported, wherever another name comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.curation import bulk
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, BulkJob, TaggingRun
from filestack_tags.tagging import queue
from filestack_tags.tagging.taggers import get_tagger, is_paid, tagger_names

pytestmark = pytest.mark.django_db

UPLOADED = "uploaded_by_a_client"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dotted path of a tagger that Python could import, but no setting names."""
    code = "class Tagger:\n    name = 'x'\n    def tag(self, source): return None\n"
    (tmp_path / f"{UPLOADED}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield f"{UPLOADED}.Tagger"
    assert UPLOADED not in sys.modules


def test_a_queued_asset_that_names_a_dotted_path_fails(asset: Asset, path: str) -> None:
    queue.request([asset.pk], tagger="filestack")
    Asset.objects.update(queued_for=path)
    queue.tag(asset.pk)
    run = TaggingRun.objects.get()
    assert (run.state, run.error_code) == (TaggingRun.State.FAILED, "configuration")
    assert f"There is no tagger '{path}'" in run.error


def test_a_waiting_job_of_a_run_that_names_a_dotted_path_fails(
    asset: Asset, path: str, script: list[Any], settings: Any
) -> None:
    from tests.scripted import PendingJob

    script[:] = [PendingJob("wf", "job-1", raw="{}")]
    queue.request([asset.pk])
    queue.tag(asset.pk)
    TaggingRun.objects.update(tagger=path)
    Asset.objects.update(due_at="2020-01-01T00:00Z")
    queue.tag(asset.pk)
    assert "There is no tagger" in TaggingRun.objects.get().error


def test_a_bulk_job_that_names_a_dotted_path_fails(asset: Asset, path: str) -> None:
    job, _ = bulk.create(bulk.BulkRequest("retag"), user=None)
    BulkJob.objects.update(parameters={"tagger": path})
    bulk.step(job.pk)
    job.refresh_from_db()
    assert f"There is no tagger '{path}'" in f"{job.error} {[*job.items.values('error')]}"
    assert not Asset.objects.exclude(queued_for="").exists()


def test_a_dotted_path_in_a_request_is_rejected(asset: Asset, path: str) -> None:
    for ask in (bulk.create, bulk.preview):
        with pytest.raises(ConfigurationError, match="Use one of: filestack, workflow, local"):
            ask(bulk.BulkRequest("retag", tagger=path), user=None)
    with pytest.raises(ConfigurationError):
        queue.request([asset.pk], tagger=path)
    assert not is_paid(path)


def test_the_path_of_the_default_tagger_is_not_a_name_for_clients(settings: Any) -> None:
    path = "tests.scripted.ScriptedTagger"
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"TAGGER": path}
    assert get_tagger(path).name == "scripted"
    with pytest.raises(ConfigurationError):
        bulk.create(bulk.BulkRequest("retag", tagger=path), user=None)


def test_a_custom_tagger_is_chosen_by_its_name(settings: Any, script: list[Any]) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "filestack",
        "TAGGERS": {"scripted": "tests.scripted.ScriptedTagger"},
    }
    from filestack_tags.assets import registry

    asset, _ = registry.register(Source.handle("HANDLE"))
    job, _ = bulk.create(bulk.BulkRequest("retag", tagger="scripted"), user=None)
    bulk.step(job.pk)
    queue.tag(asset.pk)
    assert (TaggingRun.objects.get().tagger, TaggingRun.objects.get().state) == (
        "scripted",
        TaggingRun.State.SUCCEEDED,
    )


@given(st.text(max_size=30) | st.from_regex(r"[a-z]+(\.[a-z]+)+", fullmatch=True))
def test_no_other_name_is_a_tagger(name: str) -> None:
    if name not in tagger_names():
        before = {*sys.modules}
        with pytest.raises(ConfigurationError, match="Use one of"):
            get_tagger(name)
        assert {*sys.modules} == before
