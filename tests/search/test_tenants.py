"""The result of any search of a tenant is the same with and without another tenant's rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import Q
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset, Tag, TagAlias
from filestack_tags.search import Search, completion
from tests import examples
from tests.api.rows import tagged

OURS = Q(filename="ours")
NAMES = (
    "sky",
    "skyline",
    "sky blue",
    "blue",
    "sea",
    "seal",
    "zq0",
    "zq1",
    "zq2",
    "and",
    "aqua",
)

rows = st.lists(
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 100), max_size=4), max_size=4
)
terms = st.sampled_from(
    [
        *(f'"{name}"' for name in NAMES),
        *(
            "s*",
            "sk*",
            "z*",
            "zq*",
            "*",
            "skyy",
            "se",
            "bleu",
            "-z*",
            "sky blue",
            "zq*@rejected",
        ),
        *("blue and sea", "tagged", "name:ours", "type:image"),
    ]
)
queries = st.lists(terms, min_size=1, max_size=4).flatmap(
    lambda some: st.sampled_from([" ", " OR "]).map(lambda joint: joint.join(some))
)


def answers(query: str, text: str) -> list[Any]:
    """Return everything that a tenant can learn by searching and by completion."""
    completion.clear_cache()

    def page(order: Any) -> Any:
        found = Search(query, scope=OURS).page(order=order, size=2)
        return found.ids, found.confidences, found.next, found.previous

    asked = {
        "newest": lambda: page("newest"),
        "best": lambda: page("best"),
        "total": lambda: Search(query, scope=OURS).total(),
        "facets": lambda: Search(query, scope=OURS).facets(),
        "hints": lambda: Search(query, scope=OURS).hints(),
        "rows": lambda: sorted(
            Asset.objects.within(OURS).search(query).values_list("pk", flat=True)
        ),
        "names": lambda: completion.complete(text, scope=OURS),
        "histogram": lambda: Search(query, scope=OURS).histogram(
            getattr(Tag.objects.filter(key="sky").first(), "pk", 0)
        ),
    }
    said = []
    for name, ask in asked.items():
        try:
            said.append((name, ask()))
        except SearchError as error:
            said.append((name, error.message, error.position, error.expected, error.suggestion))
    return said


@pytest.mark.django_db
@examples(40)
@given(
    ours=rows,
    theirs=rows,
    query=queries,
    text=st.sampled_from(["", "s", "sk", "z", "b"]),
    limit=st.integers(1, 4),
)
def test_answers_do_not_depend_on_other_tenants(ours, theirs, query, text, limit):
    package = {**django_settings.FILESTACK_TAGS, "SEARCH_MAX_WILDCARD_TAGS": limit}
    with transaction.atomic(), override_settings(FILESTACK_TAGS=package):
        for number, tags in enumerate(ours):
            tagged(f"ours{number}", tags, filename="ours")
        before = answers(query, text)
        for number, tags in enumerate(theirs):
            tagged(f"theirs{number}", tags, filename="theirs")
        assert answers(query, text) == before
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_the_tags_of_others_do_not_fill_the_limit_of_a_prefix(settings):
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_MAX_WILDCARD_TAGS": 2}
    tagged("ours", {"zq0": 90, "zq1": 90}, filename="ours")
    tagged("theirs", {"zq2": 90, "zq3": 90, "secret": 90}, filename="theirs")
    TagAlias.objects.create(key="zqz", tag=Tag.objects.get(key="secret"))
    assert len(Search("zq* OR secret*", scope=OURS).page().ids) == 1
    assert Asset.objects.within(OURS).search("zq* OR secret*").count() == 1
    with pytest.raises(SearchError, match="matches more than 2 tags"):
        Search("zq*").page()
