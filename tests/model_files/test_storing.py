"""One line makes a host's file an asset, whatever happens to the row meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.checks import Error
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.db.migrations.writer import MigrationWriter
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.exceptions import ConnectionFailed
from filestack_tags.fields import AssetOf, storage_of
from filestack_tags.filestack.shared_client import shared_client
from filestack_tags.model_files import storing
from filestack_tags.models import Asset, ModelFile, TaggingRun
from filestack_tags.testing import Account, EmulatorApp, EmulatorConfig, EmulatorServer
from tests.hosts.shop.models import Photo, Product, SignedPhoto
from tests.testing.surroundings import look, picture

RED, BLUE = picture("red"), picture("blue")

Committing = Callable[..., Any]


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def filestack(settings: Any, media: Path) -> Iterator[EmulatorApp]:
    account = Account(aliases={"shop": media})
    app = EmulatorApp(EmulatorConfig(account=account, tagger=look))
    with app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = {
            **settings.FILESTACK_TAGS,
            "CDN_URL": server.url,
            "API_URL": f"{server.url}/api",
        }
        yield app


@pytest.fixture
def committing(db: None, django_capture_on_commit_callbacks: Any) -> Committing:
    """Run the tasks as after a commit."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def saved(committing: Committing, data: bytes = RED, name: str = "a.jpg") -> Photo:
    with committing():
        photo = Photo.objects.create(file=ContentFile(data, name))
    photo.refresh_from_db()
    return photo


def calls(app: EmulatorApp, name: str) -> int:
    return sum(operation == name for operation, _ in app.requests)


def found(query: str) -> list[Photo]:
    return list(Photo.objects.filter(asset__in=Asset.objects.search(query)))


def test_a_saved_file_is_stored_tagged_and_found_by_its_model(
    filestack: EmulatorApp, committing: Committing
) -> None:
    photo = saved(committing)
    assert photo.asset is not None
    assert photo.asset.kind == "handle"
    assert photo.asset.filename == "a.jpg"
    assert photo.asset.size == len(RED)
    assert photo.asset.runs.get().trigger == TaggingRun.Trigger.UPLOAD
    assert found("red>=90") == [photo]
    assert found("blue") == []
    with CaptureQueriesContext(connection) as queries:
        assert found("red>=90")[0].asset_id
    assert len(queries) <= 2  # the name of the tag is looked up before


def test_nothing_is_left_of_a_transaction_that_was_rolled_back(
    filestack: EmulatorApp, committing: Committing
) -> None:
    with committing() as callbacks, transaction.atomic():
        Photo.objects.create(file=ContentFile(RED, "a.jpg"))
        transaction.set_rollback(True)
    assert callbacks == []
    assert not ModelFile.objects.exists()
    assert not filestack.requests


def test_saving_a_row_again_changes_nothing_and_costs_one_query_more(
    filestack: EmulatorApp, committing: Committing
) -> None:
    photo = saved(committing)
    asked = len(filestack.requests)
    with committing(), CaptureQueriesContext(connection) as queries:
        photo.title = "again"
        photo.save()
    assert len(queries) == 2
    with CaptureQueriesContext(connection) as queries:
        photo.save(update_fields=["title"])
    assert len(queries) == 1
    assert len(filestack.requests) == asked


def test_a_row_loaded_before_does_not_take_the_asset_away(
    filestack: EmulatorApp, committing: Committing
) -> None:
    with committing():
        early = Photo.objects.create(file=ContentFile(RED, "a.jpg"))
    assert early.asset_id is None
    early.title = "from before"
    early.save()
    kept = Photo.objects.get()
    assert kept.title == "from before"
    assert kept.asset_id is not None


def test_another_file_is_another_asset_and_the_first_is_archived(
    filestack: EmulatorApp, committing: Committing
) -> None:
    photo = saved(committing)
    first = photo.asset
    with committing():
        photo.file = ContentFile(BLUE, "b.jpg")
        photo.save()
        assert Photo.objects.get().asset is None
    assert found("blue") == [photo]
    assert found("red") == []
    assert first is not None
    first.refresh_from_db()
    assert first.deleted_at is not None
    assert ModelFile.objects.get().version == 2


def test_the_same_bytes_under_another_name_are_stored_and_tagged_once(
    filestack: EmulatorApp, committing: Committing
) -> None:
    photo = saved(committing)
    before = photo.asset
    with committing():
        photo.file = ContentFile(RED, "b.jpg")
        photo.save()
    photo.refresh_from_db()
    assert photo.asset == before
    other = saved(committing)  # of another row: a separate asset, without another tagging call
    assert other.asset != before
    assert found("red") == [other, photo] or found("red") == [photo, other]
    assert calls(filestack, "store") == 2
    assert calls(filestack, "tags") == 1


def test_a_file_taken_away_and_a_row_deleted_take_their_asset_along(
    filestack: EmulatorApp, committing: Committing
) -> None:
    one, two = saved(committing), saved(committing, BLUE, "b.jpg")
    with committing():
        one.file = ""
        one.save()
        Photo.objects.filter(pk=two.pk).delete()
    assert Photo.objects.get().asset is None
    assert not ModelFile.objects.exists()
    assert not Asset.objects.present().exists()


def test_a_row_deleted_before_its_task_leaves_nothing_at_filestack(
    filestack: EmulatorApp, committing: Committing, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = storing._offer

    def slowly(*args: Any) -> Any:
        offer = really(*args)
        Photo.objects.all().delete()
        return offer

    monkeypatch.setattr(storing, "_offer", slowly)
    with committing():
        Photo.objects.create(file=ContentFile(RED, "a.jpg"))
    assert not Asset.objects.exists()
    assert (calls(filestack, "store"), calls(filestack, "delete")) == (1, 1)


def test_a_file_replaced_while_the_first_is_stored_is_the_one_that_counts(
    filestack: EmulatorApp, committing: Committing, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, seen = storing._offer, []

    def slowly(*args: Any) -> Any:
        offer = really(*args)
        if not seen:
            seen.append(offer)
            Photo.objects.get().file.save("b.jpg", ContentFile(BLUE))
        return offer

    monkeypatch.setattr(storing, "_offer", slowly)
    with committing():
        Photo.objects.create(file=ContentFile(RED, "a.jpg"))
    assert [photo.file.name for photo in found("blue")] == ["photos/b.jpg"]
    assert Asset.objects.count() == 1


def test_a_storage_alias_is_read_by_filestack_and_nothing_is_stored_twice(
    filestack: EmulatorApp, committing: Committing
) -> None:
    with committing():
        product = Product.objects.create(file=ContentFile(RED, "a.jpg"))
    product.refresh_from_db()
    assert product.asset is not None
    assert product.asset.reference == "src://shop/pictured/a.jpg"
    assert calls(filestack, "store") == 0
    assert [each.pk for each in Asset.objects.search("red")] == [product.asset.pk]


def test_without_an_account_the_local_tagger_reads_the_storage_itself(
    committing: Committing, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {"TAGGER": "local"}
    photo = Path(__file__).parents[2] / "example_project" / "photos" / "cat.jpg"
    with committing():
        product = Product.objects.create(file=ContentFile(photo.read_bytes(), "cat.jpg"))
    product.refresh_from_db()
    assert list(Asset.objects.search("cat>=50")) == [product.asset]
    with committing():
        Product.objects.create(file="pictured/gone.jpg")
    assert Asset.objects.latest("pk").error == (
        "The storage 'shop' has no file pictured/gone.jpg."
    )
    assert storage_of("unknown") is None


def test_new_bytes_under_the_old_name_are_tagged_again(
    filestack: EmulatorApp, committing: Committing, media: Path
) -> None:
    with committing():
        product = Product.objects.create(file=ContentFile(RED, "a.jpg"))
    default_storage.delete("pictured/a.jpg")
    with committing():
        product.file = ContentFile(BLUE, "a.jpg")
        product.save()
    product.refresh_from_db()
    assert product.file.name == "pictured/a.jpg"
    assert product.asset is not None
    assert product.asset.content_version == 2
    assert [each.pk for each in Asset.objects.search("blue -red")] == [product.asset.pk]


def test_the_asset_of_a_deleted_row_is_kept_where_the_field_says_so(
    filestack: EmulatorApp, committing: Committing
) -> None:
    with committing():
        product = Product.objects.create(file=ContentFile(RED, "a.jpg"))
        product.delete()
    with committing():
        product = Product.objects.create(file=ContentFile(RED, "b.jpg"))
    product.delete()
    assert Asset.objects.present().count() == 1


def test_a_child_of_a_model_with_a_file_is_like_its_parent(
    filestack: EmulatorApp, committing: Committing
) -> None:
    with committing():
        child = SignedPhoto.objects.create(file=ContentFile(RED, "a.jpg"), signature="s")
    assert [photo.pk for photo in found("red")] == [child.pk]
    SignedPhoto.objects.get().save()
    assert SignedPhoto.objects.get().asset is not None
    child.delete()
    assert not ModelFile.objects.exists()


@pytest.mark.parametrize(
    ("data", "name", "state", "says"),
    [
        (b"words", "a.txt", "skipped", "Files of type text/plain are not tagged"),
        (b"0" * 10_001, "a.jpg", "failed", "larger than 10000 bytes. Raise max_size"),
        (b"", "a.jpg", "failed", "The file is empty"),
    ],
)
def test_a_file_that_cannot_be_tagged_says_why_and_costs_nothing(
    filestack: EmulatorApp,
    committing: Committing,
    data: bytes,
    name: str,
    state: str,
    says: str,
    told: list[Any],
) -> None:
    photo = saved(committing, data, name)
    assert photo.asset is None
    entry = ModelFile.objects.get()
    assert (entry.state, entry.due_at) == (state, None)
    assert says in entry.error
    assert not filestack.requests
    assert [each.labels["result"] for each in told if each.name == "model_files.closed"] == [
        state
    ]


def test_what_a_passing_fault_kept_back_is_tried_again_until_attempts_are_used_up(
    filestack: EmulatorApp, committing: Committing, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "MAX_ATTEMPTS": 2, "RETRY_DELAY": 60}
    filestack.faults.add("server_error", operation="store", status=503, times=3)
    photo = saved(committing)
    entry = ModelFile.objects.get()
    assert (entry.state, entry.attempts) == ("waiting", 1)
    assert entry.error
    tasks.store_model_files()
    assert ModelFile.objects.get().attempts == 1  # not before it is due
    with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=False):
        tasks.store_model_files()
    assert ModelFile.objects.get().state == "failed"
    filestack.faults.clear()
    with committing():
        call_command("filestack_tags_sync_model_files", "shop.photo", "--failed")
    assert found("red") == [photo]


def test_a_file_missing_from_its_storage_is_named(
    filestack: EmulatorApp, committing: Committing
) -> None:
    with committing():
        Photo.objects.create(file="photos/gone.jpg")
    assert ModelFile.objects.get().error == "The storage has no file photos/gone.jpg."


def lease(pk: int) -> list[ModelFile]:
    """Lease a file, as a process that crashes afterwards."""
    return ModelFile.objects.acquire([pk], seconds=300, max_attempts=6)


def test_the_sweep_finds_a_file_whose_task_was_lost_or_whose_worker_died(
    filestack: EmulatorApp, db: None, committing: Committing
) -> None:
    photo = Photo.objects.create(file=ContentFile(RED, "a.jpg"))  # its task is never enqueued
    assert lease(ModelFile.objects.get().pk)  # and its process crashed
    assert not lease(ModelFile.objects.get().pk)
    with committing():
        tasks.sweep()
    assert not filestack.requests
    with time_machine.travel(timezone.now() + timedelta(minutes=10), tick=False), committing():
        tasks.sweep()
    assert found("red") == [photo]


def test_a_file_nobody_came_back_from_is_given_up(
    filestack: EmulatorApp, db: None, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "MAX_ATTEMPTS": 1}
    Photo.objects.create(file=ContentFile(RED, "a.jpg"))
    lease(ModelFile.objects.get().pk)
    with time_machine.travel(timezone.now() + timedelta(minutes=10), tick=False):
        tasks.store_model_files()
    entry = ModelFile.objects.get()
    assert (entry.state, entry.error_code) == ("failed", "abandoned")


def test_a_command_makes_up_for_what_sends_no_signal(
    filestack: EmulatorApp, committing: Committing, capsys: pytest.CaptureFixture[str]
) -> None:
    one = saved(committing)
    name = default_storage.save("photos/b.jpg", ContentFile(BLUE))
    Photo.objects.filter(pk=one.pk).update(file=name)
    Photo.objects.bulk_create([Photo(file=name), Photo(file="")])
    lost = saved(committing)
    Photo.objects.filter(pk=lost.pk)._raw_delete("default")
    with committing():
        call_command("filestack_tags_sync_model_files", "--dry-run")
    assert (
        "shop.photo.asset: 2 changed, 1 of deleted rows, 0 to retry."
        " Dry run: nothing was written.\n"
    ) in capsys.readouterr().out
    assert len(found("blue")) == 0
    with committing():
        call_command("filestack_tags_sync_model_files")
    assert len(found("blue")) == 2
    assert Asset.objects.present().count() == 2
    assert ModelFile.objects.count() == 2
    capsys.readouterr()
    with committing():
        call_command("filestack_tags_sync_model_files", "shop.Photo")
    assert capsys.readouterr().out == (
        "shop.photo.asset: 0 changed, 0 of deleted rows, 0 to retry.\n"
    )
    with pytest.raises(CommandError, match=r"Fields: shop.photo.asset, shop.product.asset"):
        call_command("filestack_tags_sync_model_files", "shop.Nothing")


def test_a_file_changed_by_update_under_way_is_noted_again(
    filestack: EmulatorApp, committing: Committing
) -> None:
    name = default_storage.save("photos/b.jpg", ContentFile(BLUE))
    with committing():
        Photo.objects.create(file=ContentFile(RED, "a.jpg"))
        Photo.objects.update(file=name)
    assert len(found("blue")) == 1
    assert calls(filestack, "delete") == 1  # of the copy that no row uses


def test_fixtures_are_taken_as_they_are(db: None) -> None:
    from django.core import serializers

    written = '[{"model": "shop.photo", "pk": 7, "fields": {"file": "photos/a.jpg"}}]'
    for row in serializers.deserialize("json", written):
        row.save()
    assert not ModelFile.objects.exists()


def test_a_copy_that_cannot_be_taken_back_is_told(
    filestack: EmulatorApp,
    committing: Committing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(handle: str) -> None:
        raise ConnectionFailed("no answer")

    monkeypatch.setattr(storing, "_link_asset", lambda *args: None)
    monkeypatch.setattr(shared_client(), "delete", away)
    with committing():
        Photo.objects.create(file=ContentFile(RED, "a.jpg"))
        monkeypatch.setattr(storing, "due", iter([[ModelFile.objects.get().pk], []]).__next__)
    assert "its copy at Filestack stays" in caplog.text


def test_migrations_of_the_host_see_a_plain_foreign_key() -> None:
    field = Photo._meta.get_field("asset")
    written, imports = MigrationWriter.serialize(field)
    assert written.startswith("models.ForeignKey(")
    assert "filestack_tags" not in " ".join(imports)


@isolate_apps("tests.hosts.shop")
def test_a_field_that_names_no_file_and_another_database_are_errors() -> None:
    class Wrong(models.Model):
        title = models.CharField(max_length=10)
        asset = AssetOf("title", related_name="+")
        other = AssetOf("nothing", related_name="+")

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return ""

    class Apart:
        def db_for_write(self, model: Any, **hints: Any) -> str:
            return "elsewhere" if model is Wrong else "default"

    def ids() -> list[str]:
        fields = [Wrong._meta.get_field("asset"), Wrong._meta.get_field("other")]
        return sorted(
            str(each.id)
            for field in fields
            for each in field.check()
            if isinstance(each, Error) and str(each.id).startswith("filestack_tags")
        )

    assert ids() == ["filestack_tags.E060"] * 2
    with override_settings(DATABASE_ROUTERS=[Apart()]):
        assert ids() == ["filestack_tags.E060"] * 2 + ["filestack_tags.E061"] * 2


def test_editors_see_what_failed_and_try_it_again(
    filestack: EmulatorApp, committing: Committing, admin_client: Client, admin_user: User
) -> None:
    filestack.faults.add("plain_text", operation="store", status=403, text="no")
    photo = saved(committing)
    entry = ModelFile.objects.get()
    assert entry.state == "failed"
    listed = "/admin/filestack_tags/modelfile/"
    page = admin_client.get(f"{listed}{entry.pk}/change/").content.decode()
    assert "Check the app" in page
    with committing():
        data = {"action": "try_again", "_selected_action": [entry.pk]}
        reply = admin_client.post(listed, data, follow=True)
    assert "1 file is being retried." in reply.content.decode()
    assert found("red") == [photo]
    with CaptureQueriesContext(connection) as one:
        admin_client.get(listed)
    saved(committing)
    with CaptureQueriesContext(connection) as two:
        admin_client.get(listed)
    assert len(one) == len(two)
