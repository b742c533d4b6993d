"""One upload from webhook to search, from a host's point of view: ``python -m tests.hosts
SETTINGS``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

warnings.simplefilter("error")
os.environ["DJANGO_SETTINGS_MODULE"] = f"tests.hosts.{sys.argv[1]}"

import django  # noqa: E402  needs the settings named above

django.setup()

from django.apps import apps  # noqa: E402  needs django.setup()
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import router  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from filestack_tags import tasks  # noqa: E402
from filestack_tags.models import Asset  # noqa: E402
from filestack_tags.testing.payloads import fp_upload, fs_workflow  # noqa: E402
from tests import signed_headers  # noqa: E402
from tests.scripted import answers, reply  # noqa: E402

HANDLE = "VJQTvCboRVivWJ2BpKgd"


def deliver(client: Client, url: str, event: dict[str, object]) -> None:
    body = json.dumps(event).encode()
    headers = signed_headers(body)
    for expected in (b"Stored.\n", b"Duplicate.\n"):
        response = client.post(url, body, content_type="application/json", headers=headers)
        assert (response.status_code, response.content) == (200, expected), response.content


def use_admin_and_api(client: Client, asset: Asset) -> None:
    names = {get_user_model().USERNAME_FIELD: "ann@example.com", "password": "x"}
    user = get_user_model().objects.create_superuser(**names)
    client.force_login(user)
    pages = ("asset", "tag", "taggingrun", "webhookdelivery")
    for page in (*pages, "circuit", "dailyusage", "heartbeat", "backfill"):
        found = client.get(f"/admin/filestack_tags/{page}/")
        assert found.status_code == 200, page
    tasks.sweep()
    assert client.get("/health/").json()["status"] == "ok"
    assert "figures" in client.get("/health/").json()
    call_command("check", databases=[router.db_for_write(Asset)], fail_level="WARNING")
    assert client.get(f"/admin/filestack_tags/asset/{asset.pk}/change/").status_code == 200
    registered = client.post(
        "/api/v1/assets/", json.dumps({"handle": "other"}), content_type="application/json"
    )
    assert registered.status_code == 201, registered.content
    assert registered.json()["uploader"] == "ann@example.com"
    found = client.get(
        "/api/v1/assets/", {"q": "by:ann@example.com sea>=50 uploaded:>=2020-01-01"}
    )
    assert [item["reference"] for item in found.json()["results"]] == ["other"], found.content
    assert client.get("/api/v1/assets/", {"q": "sea>"}).status_code == 400


def main() -> None:
    from django.conf import settings

    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "tests.scripted.ScriptedTagger"
    }
    setup_test_environment()
    call_command("migrate", database=router.db_for_write(Asset), run_syncdb=True, verbosity=0)
    call_command("check", fail_level="WARNING")
    answers[:] = [reply({"sea": 70})]
    client = Client()
    webhook = (
        "/webhook/" if settings.ROOT_URLCONF == "filestack_tags.urls" else "/filestack/webhook/"
    )
    deliver(client, webhook, fp_upload(HANDLE, timestamp=1700000000))
    deliver(client, webhook, fs_workflow(HANDLE, tags={"umbrella": 97}, job_id="job-1"))
    asset = Asset.objects.search("umbrella>=95 -sea uploaded:2023-11-14").get()
    assert asset.tagging_state == Asset.State.TAGGED
    if apps.is_installed("django.contrib.admin"):
        use_admin_and_api(client, asset)
    else:
        assert client.get("/health/").status_code == 404  # only what was mounted
    sys.stdout.write("One upload went all the way.\n")


if __name__ == "__main__":
    main()
