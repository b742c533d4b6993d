"""The OpenAPI schema of the API, with drf-spectacular; loaded only if the host has installed it.

drf-spectacular reads the serializers that the view's actions declare with :func:`.base.operation`.
This module adds what every operation has: permissions, preconditions and problems.
"""

from __future__ import annotations

from collections import defaultdict
from inspect import cleandoc
from typing import Any

import uritemplate
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from . import conditional, problems
from .base import Operation, View, scope_of_request
from .fields import CommaSeparated, Repeatable
from .problems import CONTENT_TYPE, Problem
from .serializers import Body, count

ID = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
NUMBERS = ("id", "asset")
"""Path parameters that are numbers."""
ETAGS = {"type": "string", "pattern": conditional.ETAGS}
PRECONDITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "If-Match": (ETAGS, "the ETag of a GET of this URL: 412 if the content has changed"),
    "If-None-Match": (ETAGS, "an ETag, or *: 412 if the content matches"),
    "If-Unmodified-Since": (
        {"type": "string"},
        "an HTTP date: 412 if updated_at is later; ignored with If-Match",
    ),
}
ALWAYS = (
    problems.UNKNOWN_PARAMETER,
    problems.MALFORMED_REQUEST,
    problems.NOT_AUTHENTICATED,
    problems.AUTHENTICATION_FAILED,
    problems.PERMISSION_DENIED,
    problems.THROTTLED,
)


class FieldErrorSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(allow_blank=True)
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457; the members after the first four depend on the type."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    parameter = serializers.CharField(required=False, allow_blank=True)
    position = count(required=False)
    found = serializers.CharField(required=False, allow_blank=True)
    expected = serializers.ListField(child=serializers.CharField(), required=False)
    terms = serializers.ListField(child=serializers.CharField(), required=False)
    suggestion = serializers.CharField(required=False, allow_blank=True)
    unknown = serializers.ListField(child=serializers.CharField(), required=False)
    allowed = serializers.ListField(child=serializers.CharField(), required=False)
    errors = FieldErrorSerializer(many=True, required=False)  # type: ignore[assignment]  # a field, as DRF allows


class DescribedView(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # registers itself
    """Uses :class:`Schema` for every view of this package, whatever the host's default is."""

    target_class = "filestack_tags.api.base.View"
    match_subclasses = True

    def view_replacement(self) -> type[View]:
        original: type[View] = self.target
        members = {"schema": Schema(), "__doc__": original.__doc__}
        return type(original.__name__, (original,), members)


class Schema(AutoSchema):
    """Describes an operation from its declaration."""

    view: Any
    method: str
    path: str

    @property
    def operation(self) -> Operation:
        declared: Operation = self.view.operation
        return declared

    @property
    def is_read(self) -> bool:
        return self.method == "GET"

    def get_operation_id(self) -> str:
        return f"{self.view.basename}_{self.view.action}".replace("-", "_")

    def get_summary(self) -> str:
        return self._docstring().partition("\n\n")[0].replace("\n", " ").rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular does
        names = ", ".join(f"`{name.partition('.')[2]}`" for name in self.operation.permissions)
        scope = scope_of_request(self.operation, self.method)
        return f"{self._docstring()}\n\nPermissions: {names}. Throttle scope: `{scope}`."

    def get_override_parameters(self) -> list[Any]:
        in_path = [
            OpenApiParameter(
                name, ID if name in NUMBERS else {"type": "string"}, OpenApiParameter.PATH
            )
            for name in uritemplate.variables(self.path)
        ]
        fields = self.operation.parameters.fields
        headers = {**self.operation.headers, **({} if self.is_read else PRECONDITIONS)}
        in_headers = [
            OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=meaning)
            for name, (schema, meaning) in headers.items()
        ]
        return [
            *in_path,
            *(self._parameter(fields[name]) for name in sorted(fields)),
            *in_headers,
        ]

    def _parameter(self, field: Any) -> OpenApiParameter:
        is_list = isinstance(field, Repeatable | CommaSeparated)
        return OpenApiParameter(
            field.field_name,
            self._described(field),
            required=field.required,
            description=field.help_text,
            style="form" if is_list else None,
            explode=isinstance(field, Repeatable) if is_list else None,
        )

    def _described(self, field: Any) -> dict[str, Any]:
        map_field: Any = self._map_serializer_field
        schema: dict[str, Any] = map_field(field, "request")
        self._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]  # of the library
        schema.pop("description", None)  # on a parameter, not in its schema
        schema.pop("title", None)
        schema.pop("x-spec-enum-id", None)
        if isinstance(field, serializers.ListField):
            schema["items"] = self._described(field.child)
        return schema | getattr(field, "constraints", {})

    def get_request_serializer(self) -> Any:
        return self.operation.body

    def _get_request_body(self, direction: Any = "request") -> Any:
        describe: Any = super()._get_request_body
        content = describe(direction)
        body = self.operation.body
        if content is not None and body is not None and not body(data={}).is_valid():
            content["required"] = True  # no body is read as an empty object
        return content

    def get_response_serializers(self) -> Any:
        responses: dict[Any, Any] = {}
        for status, returns in self.operation.returns.items():
            if isinstance(returns, dict):
                responses |= {(status, kind): schema for kind, schema in returns.items()}
            else:
                responses[status] = returns
        if self.is_read:
            responses[304] = OpenApiResponse(
                description="Not modified: If-None-Match contains the current ETag"
            )
        by_status = defaultdict(list)
        for problem in self._problems():
            by_status[problem.status].append(problem)
        for status, kinds in sorted(by_status.items()):
            # The answer is 403 if the host's authentication has no challenge.
            names = ", ".join(f"`{kind.name}`" for kind in kinds)
            responses[status, CONTENT_TYPE] = OpenApiResponse(
                ProblemSerializer, description=names
            )
        return responses

    def _problems(self) -> list[Problem]:
        fields = self.operation.parameters.fields
        kinds = [*ALWAYS]
        if fields or not self.is_read:
            kinds.append(problems.INVALID_PARAMETER)
        if uritemplate.variables(self.path) or "asset" in fields:
            kinds.append(problems.NOT_FOUND)
        if not self.is_read:
            kinds.append(problems.PRECONDITION_FAILED)
        if self.method in ("POST", "PUT", "PATCH"):
            kinds += [problems.UNSUPPORTED_MEDIA_TYPE, problems.TOO_LARGE]
            kinds += [problems.MALFORMED_BODY, problems.INVALID_VALUES]
        return [*kinds, *self.operation.problems]

    def _docstring(self) -> str:
        action = getattr(type(self.view), self.view.action)
        return cleandoc(str(action.__doc__ or type(self.view).__doc__)).replace("``", "`")

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False  # pages have serializers of their own

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
