"""Five searches, each run in Python, over REST and in the admin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from example_project.demo.visitor import Visitor
from filestack_tags.models import Asset

QUESTIONS = (
    ("cat>=80", ("cat.jpg",)),
    ("animal:50..90 -cat", ("dogs.jpg",)),
    ("(coffee OR mountain) type:image/jpeg", ("coffee.jpg", "mountains.jpg")),
    ('"black and white" square>=90', ("brick-wall.jpg", "cameraman.jpg")),
    ("build* tagged -status:failed", ("pagoda.jpg",)),
)
"""The query, and file names that must be among the results."""

ROW = re.compile(r'name="_selected_action" value="(\d+)"')


@dataclass(frozen=True)
class Answer:
    """The results of one query among this demo's photos, by file name."""

    query: str
    expected: tuple[str, ...]
    python: tuple[str, ...]
    rest: tuple[str, ...]
    admin: tuple[str, ...]

    def problems(self) -> list[str]:
        found = [
            f"{self.query}: {name} is missing from the answer"
            for name in self.expected
            if name not in self.python
        ]
        for way, names in (("REST", self.rest), ("the admin", self.admin)):
            if names != self.python:
                found.append(f"{self.query}: {way} found {names}, Python found {self.python}")
        return found


def ask_all(assets: Sequence[Asset], visitor: Visitor) -> list[Answer]:
    names = {asset.pk: asset.filename for asset in assets}
    return [
        Answer(
            query=query,
            expected=expected,
            python=_names(names, Asset.objects.search(query).values_list("pk", flat=True)),
            rest=_names(names, _rest(visitor, query)),
            admin=_names(names, _admin(visitor, query)),
        )
        for query, expected in QUESTIONS
    ]


def _rest(visitor: Visitor, query: str) -> list[int]:
    page = visitor.get_json("/api/v1/assets/", q=query, page_size="100")
    return [item["id"] for item in page["results"]]


def _admin(visitor: Visitor, query: str) -> list[int]:
    return [int(pk) for pk in ROW.findall(visitor.get("/admin/filestack_tags/asset/", q=query))]


def _names(names: dict[int, str], ids: Iterable[int]) -> tuple[str, ...]:
    return tuple(sorted(names[pk] for pk in ids if pk in names))
