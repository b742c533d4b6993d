"""Every request that writes, and its response, on a project with a replica that stopped
replicating.

``REPLICA=off REPLICA_FOLDER=… python -m tests.hosts.replica seed`` creates the two databases, and
``python -m tests.hosts.replica`` prints a line of JSON for each response. ``… replica reads`` adds
an asset, and prints what plain reads then find.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import warnings
from typing import Any

warnings.simplefilter("error")
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.hosts.frozen_replica"

import django  # noqa: E402  needs the settings named above

django.setup()

from django.contrib.auth.models import User  # noqa: E402  needs django.setup()
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from filestack_tags import curation, tasks  # noqa: E402
from filestack_tags.assets import registry  # noqa: E402
from filestack_tags.curation import bulk, saved_searches  # noqa: E402
from filestack_tags.filestack.sources import Source  # noqa: E402
from filestack_tags.models import Asset, BulkJob, Tag, TagDecision, TagMerge  # noqa: E402
from filestack_tags.testing.payloads import fp_upload  # noqa: E402
from tests import signed_headers  # noqa: E402
from tests.hosts.frozen_replica import FOLDER  # noqa: E402
from tests.scripted import answers, reply  # noqa: E402

VARIES = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|\+00:00)?|csrf\w+|[0-9a-f]{32,}")
HANDLE = "VJQTvCboRVivWJ2BpKgd"


def show(response: Any) -> None:
    body = VARIES.sub("…", response.content.decode())
    place = response.headers.get("Location", "")
    sys.stdout.write(json.dumps([response.status_code, place, body]) + "\n")


class Api:
    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = "" if body is None else json.dumps(body)
        send = getattr(self.client, method)
        response = send(f"/api/v1/{path}", data, content_type="application/json")
        show(response)
        return response.json() if response.content else {}


def seed() -> None:
    answers[:] = [reply({"sea": 70, "sand": 90, "dune": 40})]
    User.objects.create_superuser("ann", "ann@example.com", "x")
    for handle in ("first", "second", "third"):
        tasks.register(Source.handle(handle))


def use_the_api(client: Client) -> None:
    api = Api(client)
    api("post", "assets/", {"handle": "fourth"})
    api("post", "assets/", {"handle": "fourth", "filename": "again.jpg"})
    api("post", "assets/", {"handle": "first", "filename": "known.jpg"})
    api("post", "assets/", {"handle": "not-tagged", "tag": False})
    api("patch", "assets/1/", {"filename": "one.jpg"})
    api("patch", "assets/4/", {"filename": "four.jpg"})
    api("post", "assets/1/retag/")
    api("post", "assets/4/retag/")
    api("post", "assets/1/tags/", {"name": "New tag"})
    api("post", "assets/4/tags/", {"name": "New tag", "confidence": 55})
    api("post", "assets/4/tags/", {"name": "sea"})
    for decision in ("accepted", "rejected", None):
        api("put", "assets/4/tags/cliff/", {"decision": decision})
        api("patch", "assets/1/tags/sea/", {"decision": decision})
    api("patch", "assets/4/tags/cliff/", {"confidence": 12})
    for pk in TagDecision.objects.using("default").order_by("-pk").values_list("pk", flat=True):
        api("post", f"decisions/{pk}/undo/")
    api("patch", "tags/cliff/", {"name": "The cliff", "min_confidence": 30})
    api("patch", "tags/sand/", {"hidden": True})
    api("patch", "tags/sand/", {"hidden": False})
    api("post", "tags/cliff/aliases/", {"name": "klippe"})
    api("post", "tags/cliff/aliases/", {"name": "klippe"})
    api("delete", "tags/cliff/aliases/klippe/")
    api("post", "tags/dune/merge/", {"into": "sand"})
    for pk in TagMerge.objects.using("default").values_list("pk", flat=True):
        api("post", f"merges/{pk}/undo/")
    saved = api("post", "saved-searches/", {"name": "Beaches", "query": "sand"})
    api("post", "saved-searches/", {"name": "Beaches", "query": "sand"})
    api("patch", f"saved-searches/{saved['id']}/", {"name": "Other", "shared": True})
    api("delete", f"saved-searches/{saved['id']}/")
    for body in (
        {"action": "add_tag", "q": "cliff", "tag": "coast"},
        {"action": "add_tag", "asset_ids": [4, 5], "tag": "coast"},
        {"action": "export", "q": "", "format": "csv"},
        {"action": "retag", "q": "cliff"},
        {"action": "archive", "asset_ids": [5]},
    ):
        api("post", "jobs/preview/", body)
        api("post", "jobs/", body)
    for pk in BulkJob.objects.using("default").order_by("pk").values_list("pk", flat=True):
        api("post", f"jobs/{pk}/cancel/")
        api("post", f"jobs/{pk}/undo/")
    api("post", "assets/4/workflows/", {"workflow": "look"})
    api("delete", "assets/4/")
    api("post", "assets/", {"handle": "fourth"})


def use_uploads(client: Client) -> None:
    permit = client.post("/api/v1/uploads/permit/", "{}", content_type="application/json")
    sys.stdout.write(json.dumps([permit.status_code, "", sorted(permit.json())]) + "\n")
    api = Api(client)
    for filename in ("uploaded.jpg", "again.jpg"):
        api("post", "uploads/complete/", {"handle": "uploaded", "filename": filename})
    api("post", "uploads/complete/", {"handle": "first", "filename": "first.jpg"})
    upload = "/admin/filestack_tags/asset/upload/"
    permit = client.post(f"{upload}permit/")
    sys.stdout.write(json.dumps([permit.status_code, "", sorted(permit.json())]) + "\n")
    for handle in ("by-the-page", "by-the-page", "second"):
        show(client.post(f"{upload}stored/", {"handle": handle, "filename": "page.jpg"}))


def use_the_webhook(client: Client) -> None:
    body = json.dumps(fp_upload(HANDLE, timestamp=1700000000)).encode()
    headers = signed_headers(body)
    for _ in range(2):
        show(
            client.post(
                "/filestack/webhook/", body, content_type="application/json", headers=headers
            )
        )


def use_the_admin(client: Client) -> None:
    """Open and save the pages of rows that the replica does not have."""
    newest = Asset.objects.using("default").order_by("-pk").values_list("pk", flat=True)[0]
    cliff = Tag.objects.using("default").get(key="the cliff").pk
    app = "/admin/filestack_tags"
    tag = f"{app}/tag/{cliff}/change/"

    def save(path: str, data: dict[str, str]) -> None:
        response = client.post(path, data)
        place = response.headers.get("Location", "")
        sys.stdout.write(json.dumps([response.status_code, place, path]) + "\n")

    def read(path: str, pattern: str) -> None:
        page = client.get(path)
        found = re.findall(pattern, page.content.decode())
        sys.stdout.write(json.dumps([page.status_code, path, found]) + "\n")

    read(f"{app}/asset/4/change/", r"Cliff|cliff")
    save(f"{app}/asset/{newest}/decide/", {"add": "1", "add-name": "Pier"})
    save(f"{app}/asset/4/decide/", {"reject": str(cliff)})
    save(f"{app}/asset/4/decide/", {"withdraw": str(cliff)})
    read(f"{app}/asset/{newest}/change/", r"Pier|pier")
    read(tag, r'name="(?:name|min_confidence)"[^>]*')
    form = {"name": "The cliff", "min_confidence": "30", "aliases": "cliff"}
    initial = {f"initial-{name}": value for name, value in form.items()}
    save(tag, form | initial | {"min_confidence": "35"})
    read(tag, r'name="(?:name|min_confidence)"[^>]*')
    save(f"{app}/asset/add/", {"reference": "added-here", "filename": "added.jpg"})
    review, undecided = (
        f"{app}/asset/review/?tag=cliff&low=0&high=100",
        r'name="asset" value="(\d+)"',
    )
    read(review, undecided)
    save(f"{app}/asset/review/decide/", {"asset": str(newest), "accept": str(cliff)})
    read(review, undecided)
    for values in (
        Asset.objects.using("default")
        .order_by("pk")
        .values_list("pk", "reference", "filename"),
        Tag.objects.using("default").order_by("pk").values_list("key", "min_confidence"),
        TagDecision.objects.using("default")
        .order_by("pk")
        .values_list("asset", "after_decision"),
    ):
        sys.stdout.write(json.dumps([list(row) for row in values]) + "\n")


def use_python(user: User) -> None:
    """Call the Python API of a project on rows that the replica does not have."""

    def tell(*values: Any) -> None:
        sys.stdout.write(json.dumps([VARIES.sub("…", str(value)) for value in values]) + "\n")

    asset, created = tasks.register(Source.handle("from-python"))
    tell(asset.pk, created, asset.tagging_state)
    asset, created = tasks.register(Source.handle("from-python"))
    tell(asset.pk, created, asset.tagging_state)
    tell(tasks.request_tagging([asset.pk], force=True))
    (tag_id,) = (
        Tag.objects.using("default").filter(key="the cliff").values_list("pk", flat=True)
    )
    for act in (curation.accept, curation.reject):
        tell(act(asset.pk, tag_id, user=user).decision)
    curation.withdraw(asset.pk, tag_id, user=user)
    tell(curation.add(asset.pk, "From Python", user=user).confidence)
    added = Tag.objects.using("default").get(key="from python")
    curation.rename(added.pk, "Renamed")
    curation.set_minimum(added.pk, 20)
    curation.add_alias(added.pk, "another")
    curation.never_show(["never"])
    tell(tasks.merge(added.pk, tag_id, user=user).state)
    saved = saved_searches.save(saved_searches.SavedSearchInput("Python", "cliff"), user=user)
    tell(
        saved.name,
        saved_searches.save(
            saved_searches.SavedSearchInput("P2"), user=user, saved_id=saved.pk
        ),
    )
    request = bulk.BulkRequest("add_tag", query="cliff", tag="bulk")
    tell(bulk.preview(request, user=user).assets.count)
    job, _ = tasks.start_bulk_job(request, user=user)
    job.refresh_from_db(using="default")
    tell(job.state, job.matched, job.changed)
    undoing = tasks.undo_bulk_job(job.pk, user=user)
    undoing.refresh_from_db(using="default")
    tell(undoing.state, undoing.changed)
    tell(registry.archive(asset.pk), registry.restore(asset.pk))


def read_plainly(client: Client) -> None:
    """Add an asset, then read it in every way that may use the replica."""
    registered = client.post(
        "/api/v1/assets/", '{"handle": "fourth"}', content_type="application/json"
    ).json()
    tag = client.get("/api/v1/tags/?q=cliff").json()
    page = client.get("/admin/filestack_tags/asset/").content.decode()
    found = {
        "response": [registered["reference"], [tag["name"] for tag in registered["tags"]]],
        "stored": Asset.objects.using("default").count(),
        "asset": client.get(f"/api/v1/assets/{registered['id']}/").status_code,
        "list": len(client.get("/api/v1/assets/").json()["results"]),
        "tags": len(tag["results"]),
        "admin's list": len(set(re.findall(r"asset/(\d+)/change", page))),
        "search": Asset.objects.search("cliff").count(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def main() -> None:
    setup_test_environment()
    if sys.argv[1:] == ["seed"]:
        call_command("migrate", run_syncdb=True, verbosity=0)
        seed()
        connections.close_all()
        shutil.copy(FOLDER / "primary.sqlite3", FOLDER / "replica.sqlite3")
        return
    answers[:] = [reply({"sea": 71, "cliff": 95})]
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get())
    if sys.argv[1:] == ["reads"]:
        read_plainly(client)
        return
    use_the_api(client)
    use_uploads(client)
    use_the_webhook(client)
    use_the_admin(client)
    use_python(User.objects.get())


if __name__ == "__main__":
    main()
