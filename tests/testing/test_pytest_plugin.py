"""The fixtures, as the tests of a host project use them."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest

from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.testing.fixtures import Commit, Filestack, Make, TagNow, Webhook
from filestack_tags.testing.payloads import fp_upload
from tests.testing.surroundings import picture

pytest_plugins = ["pytester", "filestack_tags.pytest_plugin"]

PLUGIN = "filestack_tags.pytest_plugin"


def test_the_emulator_stores_tags_and_tells_of_it(
    filestack: Filestack, filestack_commit: Commit
) -> None:
    filestack.says({"sky": 91})
    handle = filestack.store(picture(), "sunset.jpg")
    assert filestack.deliver() == 1
    asset = Asset.objects.search("sky>=91").get()
    assert (asset.reference, asset.filename) == (handle, "sunset.jpg")
    assert "tags" in filestack.calls


def test_faults_are_answered(
    filestack: Filestack, filestack_make: Make, filestack_tag_now: TagNow
) -> None:
    filestack.faults.add("invalid_application", operation="tags")
    asset = filestack_make.asset()
    filestack_tag_now(asset)
    assert "Correct API_KEY" in asset.error


def test_tag_now_asks_the_tagger_and_renews_the_asset(
    filestack_make: Make, filestack_tag_now: TagNow, settings: Any
) -> None:
    from tests import scripted

    scripted.answers[:] = [scripted.reply({"dog": 70})]
    asset = filestack_make.asset({"cat": 90})
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGERS": {"scripted": "tests.scripted.ScriptedTagger"}
    }
    filestack_tag_now(asset, tagger="scripted")
    assert asset.tagging_state == Asset.State.TAGGED
    assert [row.tag.key for row in asset.asset_tags.all()] == ["dog"]


def test_factories_make_what_the_services_would(filestack_make: Make) -> None:
    one = filestack_make.asset({"sky": 90}, user_tags={"holiday": 100}, filename="a.jpg")
    two = filestack_make.asset({"sky": 50})
    assert {*Asset.objects.search("sky")} == {one, two}
    assert Asset.objects.search("source:user").get() == one
    run = filestack_make.run(two, {"sea": 60}, tagger="local")
    assert (run.state, run.tagger) == (TaggingRun.State.SUCCEEDED, "local")
    delivery = filestack_make.delivery(fp_upload("VJQTvCboRVivWJ2BpKgd"))
    assert delivery.state == WebhookDelivery.State.RECEIVED


def test_a_webhook_is_signed_and_one_with_another_secret_refused(
    filestack_webhook: Webhook, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "AUTO_TAG": False}
    assert filestack_webhook(fp_upload("VJQTvCboRVivWJ2BpKgd")).status_code == 200
    assert Asset.objects.get().reference == "VJQTvCboRVivWJ2BpKgd"
    assert filestack_webhook(fp_upload("other"), secret="wrong").status_code == 403
    assert Asset.objects.count() == 1


def test_events_without_a_secret_say_what_to_set(filestack_make: Make, settings: Any) -> None:
    settings.FILESTACK_TAGS = {}
    with pytest.raises(Exception, match="WEBHOOK_SECRETS'] is empty"):
        filestack_make.delivery(fp_upload("VJQTvCboRVivWJ2BpKgd"))


def test_a_project_whose_celery_is_not_eager_needs_no_worker(
    filestack: Filestack, filestack_commit: Commit, settings: Any
) -> None:
    from filestack_tags import tasks
    from filestack_tags.filestack.sources import Source

    settings.CELERY_TASK_ALWAYS_EAGER = False
    assert tasks.tag_asset.app.conf.task_always_eager is False
    filestack.says({"sky": 91})
    with filestack_commit():
        tasks.register(Source.handle(filestack.store(picture())))
    assert Asset.objects.search("sky").count() == 1
    assert tasks.tag_asset.app.conf.task_always_eager is False


@pytest.mark.slow
def test_a_project_finds_the_fixtures_by_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        project=dedent(
            """
            SECRET_KEY = "x"
            INSTALLED_APPS = [
                "django.contrib.auth", "django.contrib.contenttypes", "filestack_tags",
            ]
            DATABASES = {
                "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
            }
            ROOT_URLCONF = "urls"
            USE_TZ = True
            """
        ),
        urls=dedent(
            """
            from django.urls import include, path

            urlpatterns = [path("hooks/", include("filestack_tags.urls"))]
            """
        ),
    )
    pytester.makepyfile(
        """
        from filestack_tags.models import Asset


        def test_upload(filestack, filestack_webhook):
            filestack.says({"sky": 90})
            filestack.store(b"a picture", "a.jpg")
            filestack.deliver()
            assert Asset.objects.search("sky>=90").count() == 1


        def test_search(filestack_make):
            filestack_make.asset({"dog": 70})
            assert Asset.objects.search("dog").exists()
        """
    )
    ran = pytester.runpytest_subprocess("-p", PLUGIN, "--ds", "project", "-p", "no:randomly")
    ran.assert_outcomes(passed=2)


def test_a_run_that_uses_no_fixture_loads_nothing_of_the_app() -> None:
    code = (
        f"import sys, {PLUGIN}; "
        "print(sorted(m for m in sys.modules if m.startswith(('filestack_tags', 'django', "
        "'celery', 'httpx2'))))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "['filestack_tags', 'filestack_tags.pytest_plugin']"
