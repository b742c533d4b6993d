"""Hooks of schemathesis: strings of the formats that only the app defines.

JSON Schema cannot express what a tag name or a search is, so the schema names a ``format``.
Here each format has a generator and the app's own validator. A positive case with a string that
its format does not allow gets one that it does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import django
import schemathesis
import yaml
from hypothesis import strategies as st

django.setup()

from rest_framework.exceptions import ValidationError  # noqa: E402  # needs the settings, as all below
from schemathesis import Case, HookContext  # noqa: E402
from schemathesis.core.failures import Failure  # noqa: E402
from schemathesis.core.transport import Response  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402
from schemathesis.openapi.checks import RejectedPositiveData  # noqa: E402

from filestack_tags.api.filters import TagFilter  # noqa: E402
from filestack_tags.db.text import is_visible, label_key  # noqa: E402
from filestack_tags.exceptions import FilestackTagsError  # noqa: E402
from filestack_tags.filestack.private_hosts import require_public  # noqa: E402
from filestack_tags.filestack.sources import Source  # noqa: E402
from filestack_tags.search import Search  # noqa: E402
from filestack_tags.search.language.fields import read_fact  # noqa: E402
from filestack_tags.tagging.taggers import check_tagger_name, tagger_names  # noqa: E402
from filestack_tags.tagging.workflows import TAGGER, taggers  # noqa: E402
from tests.search.strategies import labels, periods, queries, times, values  # noqa: E402

from .site import SCHEMA, SEES_HIDDEN_TAGS, TAGS  # noqa: E402

USER = os.environ["SCHEMA_USER"]
REFERENCES = {"handle": "h1", "url": "https://example.com/a.jpg", "alias": "src://pictures/a"}


@dataclass(frozen=True)
class Format:
    """A format of strings.

    Args:
        strategy: generates strings, most of them valid.
        check: raises an exception or returns False for a string that is not valid.
        example: is valid.
    """

    strategy: st.SearchStrategy[str]
    check: Callable[[str], object]
    example: str

    def is_valid(self, text: str) -> bool:
        try:
            return self.check(text) is not False
        except (FilestackTagsError, ValidationError):
            return False


def check_url(text: str) -> None:
    require_public(Source.url(text.strip()).reference)


def check_query(text: str) -> None:
    Search(text, include_hidden=USER in SEES_HIDDEN_TAGS)


def check_filter(text: str) -> None:
    TagFilter().run_validation(text)


def check_workflow(text: str) -> bool:
    return (f"{TAGGER}:{text}" if text else TAGGER) in taggers()


tag_names = st.sampled_from(TAGS) | labels
words = st.text("abc/%+äß", min_size=1, max_size=8)
FORMATS = {
    # A cursor is opaque, and the cursor of a search is signed: an empty one is the first page.
    "page-cursor": Format(st.just(""), lambda text: text == "", ""),
    "tag-name": Format(tag_names, lambda text: label_key(text.strip()), "sea"),
    "tag-filter": Format(
        st.builds("{}{}".format, tag_names, st.sampled_from(["", ":0", ":50", ":100"])),
        check_filter,
        "sea:50",
    ),
    "tag-query": Format(queries.map(str), check_query, "sea OR sky"),
    "search-value": Format(values, lambda text: read_fact("by", "", text, 0), "root"),
    "search-period": Format(
        periods | times, lambda text: read_fact("created", ">=", text, 0), "2026-11"
    ),
    "visible-text": Format(values, lambda text: is_visible(text.strip()), "a"),
    "file-reference": Format(
        st.sampled_from([*REFERENCES.values()]), lambda text: Source.parse(text), "h1"
    ),
    "public-url": Format(words.map("https://example.com/{}".format), check_url, "https://a.de"),
    "storage-path": Format(words, lambda text: Source.alias("a", text), "a.jpg"),
    "tagger-name": Format(st.sampled_from(tagger_names()), check_tagger_name, TAGGER),
    "workflow-name": Format(st.sampled_from(["", "review"]), check_workflow, "review"),
}
for name, each in FORMATS.items():
    schemathesis.openapi.format(name, each.strategy.filter(each.is_valid))

DOCUMENT = yaml.safe_load(SCHEMA.read_text("utf-8"))


@schemathesis.hook
def map_case(context: HookContext, case: Case) -> Case:
    """Replace strings of a positive case that their format does not allow."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return case
    operation = DOCUMENT["paths"][case.operation.path][case.operation.method]
    query = case.query if isinstance(case.query, dict) else {}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query" and parameter["name"] in query:
            name = parameter["name"]
            query[name] = corrected(query[name], parameter["schema"])
    if "order_tag" in query:
        query["order"] = "confidence"  # OpenAPI cannot express that one parameter needs another
    if isinstance(case.body, dict):
        schema = body_schema(operation)
        for name in case.body.keys() & schema["properties"].keys():
            case.body[name] = corrected(case.body[name], schema["properties"][name])
        if "kind" in case.body and "reference" in case.body:
            case.body["reference"] = REFERENCES[case.body["kind"]]
        if case.body.get("action") == "run_workflow" and "tagger" in case.body:
            case.body["tagger"] = f"{TAGGER}:review"  # others run no workflow
    return case


def corrected(value: Any, schema: dict[str, Any]) -> Any:
    """Return the value, with an example for each string that its format does not allow."""
    if isinstance(value, list):
        return [corrected(item, schema.get("items", {})) for item in value]
    known = FORMATS.get(schema.get("format", ""))
    if known is None or not isinstance(value, str) or known.is_valid(value):
        return value
    return "" if value == "" and not schema.get("minLength") else known.example


def body_schema(operation: Any) -> Any:
    (content,) = operation["requestBody"]["content"].values()
    return DOCUMENT["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]


INEXPRESSIBLE = (
    # The tag has to exist, and to be visible to the user.
    ("tag_merge(_preview)?", "into", "There is no such tag."),
    ("job_(create|preview)", "tag", "There is no tag .*|The tag .* is hidden; add .*"),
    # The first number has to be the lower one.
    ("job_(create|preview)", "confidence", "Confidences go from .*"),
    # It depends on the order that is stored.
    ("savedsearch_partial_update", "order_tag", "A tag for the order requires the order .*"),
    # Limits of the search that all parameters make together.
    ("asset_(list|count|facets|histogram)", "q", "A search has at most .*"),
)
"""Rules that no schema can express: operation, parameter or field, and detail of the error. They
are 400 for requests that are valid by the schema."""


@schemathesis.hook
def filter_failure(
    context: HookContext, failure: Failure, case: Case, response: Response
) -> bool:
    """Return whether it is a failure: not if a rule that no schema can express was broken."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    operation = case.operation.definition.raw["operationId"]
    errors = [(operation, *error) for error in errors_of(response.json())]
    return not errors or not all(map(is_inexpressible, errors))


def is_inexpressible(error: tuple[str, str, str]) -> bool:
    return any(all(map(re.fullmatch, rule, error, repeat(re.DOTALL))) for rule in INEXPRESSIBLE)


def errors_of(problem: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield parameter or field and detail of each error in a problem document."""
    if "parameter" in problem:
        yield problem["parameter"], problem["detail"]
    for error in problem.get("errors", ()):
        yield error["field"], error["detail"]
