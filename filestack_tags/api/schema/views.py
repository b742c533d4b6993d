"""Describe our views for drf-spectacular: their parameters, permissions and problems."""

from __future__ import annotations

from collections import defaultdict
from inspect import cleandoc
from typing import Any

import uritemplate
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from filestack_tags.api import preconditions, problems
from filestack_tags.api.base import OPERATE, READ, WRITE, View
from filestack_tags.api.problems import CONTENT_TYPE, Problem
from filestack_tags.api.serializers import Body

from .operations import OPERATIONS, Operation
from .parameters import ID, described
from .shapes import ProblemSerializer

READING = ("GET",)
NUMBERS = ("id", "asset")
"""Path parameters that are numbers."""
WRITING = ("POST", "PUT", "PATCH")
ETAGS = {"type": "string", "pattern": preconditions.ETAGS}
PRECONDITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "If-Match": (
        ETAGS,
        "the ETag of a GET of this address: 412 if the content is another by now",
    ),
    "If-None-Match": (ETAGS, "an ETag, or *: 412 if the content is that"),
    "If-Unmodified-Since": (
        {"type": "string"},
        "an HTTP date: 412 if changed_at is later; without If-Match only",
    ),
}


class DescribedView(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # registers itself
    """Uses :class:`Schema` for every view of this package, whatever the host's default is."""

    target_class = "filestack_tags.api.base.View"
    match_subclasses = True

    def view_replacement(self) -> type[View]:
        original: type[View] = self.target
        members = {"schema": Schema(), "__doc__": original.__doc__}
        return type(original.__name__, (original,), members)


class Schema(AutoSchema):
    """Describes an operation from the view's declarations, and :data:`.operations.OPERATIONS`."""

    view: Any
    method: str
    path: str

    def operation(self) -> Operation:
        return OPERATIONS[type(self.view).__name__][self.view.action]

    def get_operation_id(self) -> str:
        return f"{self.view.basename}_{self.view.action}".replace("-", "_")

    def get_summary(self) -> str:
        return self._said().partition("\n\n")[0].replace("\n", " ").rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular does
        needed = ", ".join(
            f"`{name.partition('.')[2]}`"
            for name in self.view.required_permissions[self.view.action]
        )
        return f"{self._said()}\n\nPermissions: {needed}. Throttle scope: `{self._scope()}`."

    def get_override_parameters(self) -> list[Any]:
        operation, action = self.operation(), self.view.action
        view = type(self.view).__name__
        found = [
            OpenApiParameter(
                name,
                ID if name in NUMBERS else {"type": "string"},
                OpenApiParameter.PATH,
            )
            for name in uritemplate.variables(self.path)
        ]
        for name in sorted(self.view.parameters.get(action, ())):
            schema, meaning = described(view, action, name)
            is_list = schema["type"] == "array"
            found.append(
                OpenApiParameter(
                    name,
                    schema,
                    required=name in operation.required,
                    description=meaning,
                    style="form" if is_list else None,
                    explode=name in self.view.repeatable if is_list else None,
                )
            )
        headers = list(operation.headers)
        if self.method not in READING:
            headers += [(name, *PRECONDITIONS[name]) for name in preconditions.HEADERS]
        for name, schema, meaning in headers:
            found.append(
                OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=meaning)
            )
        return found

    def get_request_serializer(self) -> Any:
        return self.operation().body

    def _get_request_body(self, direction: Any = "request") -> Any:
        describe: Any = super()._get_request_body
        body = describe(direction)
        if body is not None and not self.operation().body(data={}).is_valid():
            body["required"] = True  # no body is read as an empty object
        return body

    def get_response_serializers(self) -> Any:
        answers: dict[Any, Any] = dict(self.operation().answers)
        if self.method in READING:
            answers[304] = OpenApiResponse(
                description="Known already: If-None-Match has its ETag"
            )
        found = defaultdict(list)
        for problem in self._problems():
            found[problem.status].append(problem)
        for status, kinds in sorted(found.items()):
            # The answer is 403 if the host's authentication has no challenge.
            names = ", ".join(f"`{kind.name}`" for kind in kinds)
            answers[status, CONTENT_TYPE] = OpenApiResponse(
                ProblemSerializer, description=names
            )
        return answers

    def _problems(self) -> list[Problem]:
        found = [
            problems.UNKNOWN_PARAMETER,
            problems.MALFORMED_REQUEST,
            problems.NOT_AUTHENTICATED,
            problems.AUTHENTICATION_FAILED,
            problems.PERMISSION_DENIED,
            problems.THROTTLED,
        ]
        known = self.view.parameters.get(self.view.action, frozenset())
        if known or self.method not in READING:
            found.append(problems.INVALID_PARAMETER)
        if type(self.view).__name__ == "AssetViewSet" and "q" in known:
            found += [problems.INVALID_QUERY, problems.SEARCH_TIMEOUT, problems.INVALID_VALUES]
        if uritemplate.variables(self.path) or "asset" in known:
            found.append(problems.NOT_FOUND)
        if self.method not in READING:
            found.append(problems.PRECONDITION_FAILED)
        if self.method in WRITING:
            found += [problems.UNSUPPORTED_MEDIA_TYPE, problems.TOO_LARGE]
            found += [problems.MALFORMED_BODY, problems.INVALID_VALUES]
        return list(dict.fromkeys((*found, *self.operation().problems)))

    def _said(self) -> str:
        action = getattr(type(self.view), self.view.action)
        return cleandoc(str(action.__doc__ or type(self.view).__doc__)).replace("``", "`")

    def _scope(self) -> str:
        if self.view.action in self.view.operations:
            return OPERATE
        return READ if self.method in READING else WRITE

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False  # pages are separate shapes

    def _postprocess_serializer_schema(
        self, schema: Any, serializer: Any, direction: Any
    ) -> Any:
        post: Any = super()._postprocess_serializer_schema
        schema = post(schema, serializer, direction)
        if isinstance(serializer, Body):
            schema["additionalProperties"] = False
            schema.update(serializer.constraints)
            for name, field in serializer.fields.items():
                schema["properties"][name].update(getattr(field, "constraints", {}))
        return schema
