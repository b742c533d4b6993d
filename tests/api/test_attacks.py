"""Every parameter and body member of every operation gets hostile values, without a server error.

The operations come from the router and the fields from the serializers, so that new ones are
covered automatically.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api import conditional, problems
from filestack_tags.api.jobs import KEY
from filestack_tags.api.urls import router
from filestack_tags.assets import upload_policy
from filestack_tags.curation import bulk, merging, saved_searches
from filestack_tags.models import Tag, TagAlias

from .rows import person, tagged

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

HIDDEN = "quokka"
"""A word in the name of the hidden tag. No request contains it: they use its alias "roo"."""
FOREIGN = "elsewhere"
"""A word in all texts of the other tenant, which no request contains either."""
PLACEHOLDER = "PUT-{}-HERE"
EXISTING = {"pk": "1", "asset": "1", "key": "sky", "alias": "heaven"}

TEXTS = (
    *("", "a\0b", "\ud800", "roo", "this.s", "-1", "9" * 40, "x" * 5000),
    *("a,b", '"', "\u202e\u200b"),
)
NOT_TEXTS = (-1, 2**63, 10**400, 1.5, True, None, [], [None], ["\ud800"], {"a": {"\0": []}})
IDS = ("0", "1", "2", "3", "4", "999999")
"""Ids of rows of the user, of the other tenant, and of no row."""

SAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "RegisterSerializer": ({}, {"handle": "h9"}, {"alias": "a", "path": "b"}),
    "FactsSerializer": ({},),
    "AddTagSerializer": ({"name": "new"},),
    "DecideSerializer": ({},),
    "ChangeTagSerializer": ({},),
    "AliasSerializer": ({},),
    "MergeSerializer": ({},),
    "WorkflowBody": ({},),
    "SavedSearchBody": ({"name": "new"}, {"name": "new", "order": "confidence"}),
    "SavedSearchChange": ({},),
    "JobBody": (
        {"action": "retag", "q": "sky"},
        {"action": "run_workflow", "q": "sky"},
        {"action": "add_tag", "asset_ids": [1], "tag": "new"},
        {"action": "export", "q": "sky", "format": "csv"},
    ),
    "CompleteBody": ({"handle": "h9"},),
}
"""Bodies that are valid, or become valid with one more member."""


@dataclass(frozen=True)
class Attack:
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def own_assets(user: Any) -> Q | None:
    return None if user.is_superuser else Q(filename="mine.jpg")


def attacks() -> Iterator[Attack]:
    for url in router.urls:
        callback: Any = url.callback
        names = [*url.pattern.regex.groupindex]  # type: ignore[union-attr]  # of the router
        template = reverse(
            f"filestack_tags_api:{url.name}",
            kwargs={name: PLACEHOLDER.format(name) for name in names},
        )
        for method, action in [*callback.actions.items()]:
            if method != "head":
                yield from on_paths(method, template, names)
                path = written(template, {name: EXISTING[name] for name in names})
                operation = getattr(callback.cls, action).operation
                parameters = operation.parameters.fields
                yield from on_parameters(method, path, parameters, samples(operation))
                if operation.body is not None:
                    yield from on_body(method, path, operation)


def written(template: str, names: dict[str, str]) -> str:
    """Return a path with each name replaced by its value, percent-encoded."""
    for name, value in names.items():
        template = template.replace(PLACEHOLDER.format(name), encoded(value))
    return template


def encoded(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def on_paths(method: str, template: str, names: list[str]) -> Iterator[Attack]:
    for name in names:
        for value in (*IDS, *TEXTS):
            others = {other: EXISTING[other] for other in names}
            yield Attack(method, written(template, others | {name: value}))


def on_parameters(
    method: str, path: str, parameters: Iterable[str], bodies: tuple[Any, ...]
) -> Iterator[Attack]:
    for name in sorted({*parameters, "unknown"}):
        for value in (*TEXTS, "1", "2", "hidden"):
            yield Attack(method, f"{path}?{name}={encoded(value)}", bodies[0])
    for header in (KEY, *conditional.HEADERS):
        for value in ("", "\x7f" * 5000, 'W/"', "Sun, 06 Nov 9999999 08:49:37 GMT"):
            yield Attack(method, path, bodies[0], {header: value})


def on_body(method: str, path: str, operation: Any) -> Iterator[Attack]:
    for name in (*operation.body().fields, "unknown", "\ud800"):
        for value in (*TEXTS, *NOT_TEXTS):
            yield Attack(method, path, {**samples(operation)[0], name: value})
        for sample in samples(operation)[1:]:
            for value in ("this.s", "roo", "\ud800", -1):
                yield Attack(method, path, {**sample, name: value})
    for value in NOT_TEXTS:
        yield Attack(method, path, value)


def samples(operation: Any) -> tuple[Any, ...]:
    return (None,) if operation.body is None else SAMPLES[operation.body.__name__]


def send(client: APIClient, attack: Attack) -> Any:
    """Send the request, and roll back its changes."""
    body = b"" if attack.body is None else json.dumps(attack.body).encode()
    with transaction.atomic():
        reply = client.generic(
            attack.method, attack.path, body, "application/json", headers=attack.headers
        )
        content = b"".join(reply) if reply.streaming else reply.content
        transaction.set_rollback(True)
    return reply, content.decode()


def faults(reply: Any, content: str, *, secrets: tuple[str, ...]) -> Iterator[str]:
    if reply.status_code >= 500:
        yield f"status {reply.status_code}"
    if 400 <= reply.status_code < 500:
        if reply["Content-Type"] != problems.CONTENT_TYPE:
            yield f"no problem document: {reply['Content-Type']}"
        elif json.loads(content)["status"] != reply.status_code:
            yield "another status in the problem document"
    for secret in secrets:
        if secret in content.casefold():
            yield f"shows {secret}: {content}"


@pytest.fixture
def tenant(settings: Any, monkeypatch: pytest.MonkeyPatch) -> User:
    """A user with all permissions except for hidden tags, who may see some of the assets."""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "ASSET_SCOPE": f"{__name__}.own_assets",
        "WRITES_PER_MINUTE": None,
        "NEW_TAGS_PER_HOUR": None,
    }
    monkeypatch.setattr(upload_policy, "confirmed", lambda handle, facts, **who: facts)
    root = User.objects.create_superuser("root")
    user = person("tenant")
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="filestack_tags").exclude(
            codename="search_hidden"
        )
    )
    mine = tagged("h1", {"sky": 90, f"secret {HIDDEN}": 80, "sea": 70}, filename="mine.jpg")
    theirs = tagged(FOREIGN, {f"{FOREIGN} tag": 90, "sky": 60}, filename=f"{FOREIGN}.jpg")
    ids = dict(Tag.objects.values_list("key", "pk"))
    TagAlias.objects.create(key="roo", tag_id=ids[f"secret {HIDDEN}"])
    curation.accept(mine.pk, ids[f"secret {HIDDEN}"], user=root)
    curation.reject(mine.pk, ids["sea"], user=user)
    curation.accept(theirs.pk, ids[f"{FOREIGN} tag"], user=root)
    curation.hide(ids[f"secret {HIDDEN}"], hidden=True)
    curation.add_alias(ids["sky"], "heaven")
    for owner, word in ((user, "sky"), (root, FOREIGN)):
        wanted = saved_searches.SavedSearchInput(name=word, query=word, shared=True)
        saved_searches.save(wanted, user=owner)
        bulk.create(bulk.BulkRequest("accept_tag", query=word, tag="sky"), user=owner)
        bulk.create(bulk.BulkRequest("export", query=word, format="csv"), user=owner)
    merging.start(ids[f"{FOREIGN} tag"], ids["sea"], user=root)
    return user


def chosen(name: str) -> list[Attack]:
    """Return every sixth attack, different ones for each user; the tenant sends all with "roo"."""
    every = [*attacks()]
    if name == "root":
        return every[3::6]
    return [each for number, each in enumerate(every) if number % 6 == 0 or "roo" in repr(each)]


@pytest.mark.parametrize("name", ["tenant", "root"])
def test_every_operation_answers_hostile_values_plainly(tenant: User, name: str) -> None:
    client = APIClient(raise_request_exception=False)
    client.force_login(User.objects.get(username=name))
    secrets = (HIDDEN, FOREIGN) if name == "tenant" else ()
    found: list[str] = []
    for attack in chosen(name):
        reply, content = send(client, attack)
        found += (
            f"{attack}: {fault}"[:600] for fault in faults(reply, content, secrets=secrets)
        )
    assert not found, "\n".join(found[:30])
    assert "this" not in sys.modules, "a value was imported"


def test_every_operation_is_attacked() -> None:
    bodies = {
        getattr(url.callback.cls, action).operation.body
        for url in router.urls
        for action in url.callback.actions.values()
    }
    assert {body.__name__ for body in bodies if body is not None} == SAMPLES.keys()
