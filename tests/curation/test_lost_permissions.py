"""Work that a user started stops once that user may not do it any more, and says why."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, transaction
from django.db.models import Q

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.curation import bulk, merging
from filestack_tags.curation.bulk import batches
from filestack_tags.curation.merging import batches as merging_batches
from filestack_tags.exceptions import CurationError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import AssetTag, BulkJob, Tag, TagMerge
from tests.api.rows import person

pytestmark = pytest.mark.django_db

ALL = ("view_asset", "change_asset", "tag_asset", "delete_asset", "change_tag")
State = BulkJob.State


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "batch_size", lambda: 2)
    monkeypatch.setattr(merging_batches, "batch_size", lambda: 2)


@pytest.fixture
def editor() -> User:
    return person("editor", *ALL)


def tagged(number: int = 5, tag: str = "sky") -> None:
    for n in range(number):
        asset, _ = registry.register(Source.handle(f"{tag}{n}"))
        curation.add(asset.pk, tag, user=None)
    AssetTag.objects.update(decision=AssetTag.Decision.NONE)


def deactivate(user: User) -> str:
    User.objects.filter(pk=user.pk).update(is_active=False)
    return "The user editor is no longer active."


def delete(user: User) -> str:
    user.delete()
    return "The user who started it was deleted."


@cache
def take(codename: str) -> Any:
    def end(user: User) -> str:
        user.user_permissions.remove(Permission.objects.get(codename=codename))
        return f"The user editor no longer has the permission filestack_tags.{codename}."

    end.__name__ = f"take_{codename}"
    return end


def done(job: BulkJob) -> BulkJob:
    while bulk.step(job.pk).goes_on:
        pass
    job.refresh_from_db()
    return job


REQUESTS = {
    "change_asset": bulk.BulkRequest("add_tag", query="sky", tag="new"),
    "tag_asset": bulk.BulkRequest("retag"),
    "delete_asset": bulk.BulkRequest("archive"),
    "view_asset": bulk.BulkRequest("export"),
}
ENDS = [
    pytest.param(request, end, id=f"{request.action}-{end.__name__}")
    for codename, request in REQUESTS.items()
    for end in dict.fromkeys((deactivate, delete, take(codename), take("view_asset")))
]


@pytest.mark.parametrize(("request_", "end"), ENDS)
@pytest.mark.parametrize("after_a_batch", [False, True])
def test_a_job_fails_once_its_user_may_not_do_it(
    editor: User, request_: bulk.BulkRequest, end: Any, *, after_a_batch: bool
) -> None:
    tagged()
    job, _ = bulk.create(request_, user=editor, trigger="api")
    if after_a_batch:
        bulk.step(job.pk)
    why = end(editor)
    assert done(job).state == State.FAILED
    assert job.error == f"{why} What it did before is kept."
    assert (job.done, job.due_at) == (2 if after_a_batch else 0, None)


@pytest.mark.parametrize("end", [deactivate, delete, take("change_asset"), take("view_asset")])
def test_a_job_that_undoes_another_fails_too(editor: User, end: Any) -> None:
    tagged()
    job = done(bulk.create(REQUESTS["change_asset"], user=editor, trigger="api")[0])
    undoing = bulk.undo(job.pk, user=editor, trigger="api")
    why = end(editor)
    assert done(undoing).state == State.FAILED
    assert undoing.error.startswith(why)


def test_undoing_the_job_of_another_user_takes_the_permission_until_its_end(
    editor: User,
) -> None:
    tagged()
    job = done(bulk.create(REQUESTS["change_asset"], user=None)[0])
    editor.user_permissions.add(Permission.objects.get(codename="change_bulkjob"))
    undoing = bulk.undo(job.pk, user=editor, trigger="api")
    why = take("change_bulkjob")(editor)
    assert done(undoing).error.startswith(why)


def test_a_job_without_a_user_belongs_to_code(editor: User) -> None:
    tagged()
    assert done(bulk.create(bulk.BulkRequest("archive"), user=None)[0]).state == State.FINISHED


def test_a_job_keeps_to_what_its_user_sees_by_now(editor: User, settings: Any) -> None:
    tagged()
    curation.hide(Tag.objects.get().pk, hidden=True)
    editor.user_permissions.add(Permission.objects.get(codename="search_hidden"))
    request = bulk.BulkRequest("accept_tag", query="include:hidden sky", tag="sky")
    job, _ = bulk.create(request, user=User.objects.get(pk=editor.pk), trigger="api")
    bulk.step(job.pk)
    take("search_hidden")(editor)
    assert done(job).changed == 2


def tag(name: str) -> Tag:
    return Tag.objects.get(key=name)


def see_some(user: User) -> str:
    return "The user editor no longer sees all assets."


def scope(user: User) -> Q | None:
    return Q(filename="x")


@pytest.mark.parametrize("end", [deactivate, delete, take("change_tag"), see_some])
@pytest.mark.parametrize("is_undoing", [False, True])
def test_a_merge_stops_once_its_user_may_not_do_it(
    editor: User, end: Any, settings: Any, *, is_undoing: bool
) -> None:
    tagged(tag="cats")
    tagged(1, tag="cat")
    tagged(1, tag="dog")
    merge = merging.start(tag("cats").pk, tag("cat").pk, user=editor)
    if is_undoing:
        merging.work(merge.pk)
        merging.undo(merge.pk, user=editor)
    assert not merging.work(merge.pk, is_stopped=lambda: True)
    if (why := end(editor)).endswith("all assets."):
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"ASSET_SCOPE": f"{__name__}.scope"}
    assert merging.work(merge.pk)
    merge.refresh_from_db()
    assert merge.error.startswith(why)
    assert merge.state == (TagMerge.State.UNDOING if is_undoing else TagMerge.State.MERGING)
    assert AssetTag.objects.filter(tag__key="cats").count() == (2 if is_undoing else 3)
    assert merge.due_at is None
    # Another user continues it.
    with pytest.raises(CurationError, match="is at work"):
        merging.start(tag("cats").pk, tag("dog").pk, user=None)
    if is_undoing:
        merging.undo(merge.pk, user=None)
    else:
        assert merging.start(tag("cats").pk, tag("cat").pk, user=None).pk == merge.pk
    assert merging.work(merge.pk)
    merge.refresh_from_db()
    expected = TagMerge.State.UNDONE if is_undoing else TagMerge.State.MERGED
    assert (merge.state, merge.error) == (expected, "")
    assert AssetTag.objects.filter(tag__key="cats").count() == (5 if is_undoing else 0)


def test_a_merge_that_stopped_can_be_undone(editor: User) -> None:
    tagged(tag="cats")
    tagged(1, tag="cat")
    merge = merging.start(tag("cats").pk, tag("cat").pk, user=editor)
    merging.work(merge.pk, is_stopped=lambda: True)
    deactivate(editor)
    merging.work(merge.pk)
    merge.refresh_from_db()
    assert merge.can_be_undone
    merging.undo(merge.pk, user=None)
    assert merging.work(merge.pk)
    assert AssetTag.objects.filter(tag__key="cats").count() == 5


def test_an_idempotency_key_is_used_once_with_and_without_a_user(editor: User) -> None:
    jobs = []
    for user in (None, editor, person("other", *ALL)):
        job, created = bulk.create(bulk.BulkRequest("export"), user=user, key="k")
        again, created_again = bulk.create(bulk.BulkRequest("export"), user=user, key="k")
        assert (created, created_again, again.pk) == (True, False, job.pk)
        jobs.append(job)
    assert BulkJob.objects.count() == 3
    for job in jobs:  # as a second process that did not find the first one's row
        job.pk = None
        with pytest.raises(IntegrityError), transaction.atomic():
            job.save(force_insert=True)
    editor.delete()  # whose jobs then have no user
    assert not bulk.create(bulk.BulkRequest("export"), user=None, key="k")[1]
