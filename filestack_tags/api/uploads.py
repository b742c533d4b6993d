"""Direct uploads from a client to Filestack: a policy first, then registering the file."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags.assets import upload_policy
from filestack_tags.assets.registry import Facts
from filestack_tags.exceptions import (
    ConfigurationError,
    FilestackError,
    InvalidReference,
    UploadRefused,
)
from filestack_tags.filestack.sources import Source

from . import fields
from .asset_json import AssetSerializer
from .assets import registered
from .base import CREATED, View, operation
from .fields import Boolean, Integer, Text
from .problems import NOT_CONFIGURED, UNAVAILABLE, ProblemError
from .serializers import Body, count


class CompleteBody(Body):
    """Filestack's response to a client that stored a file."""

    handle = fields.handle()
    filename = Text(required=False, allow_blank=True, max_length=1024)
    mimetype = Text(required=False, allow_blank=True, max_length=255)
    size = Integer(required=False, min_value=0, max_value=2**63 - 1)
    container = Text(required=False, allow_blank=True, max_length=255)
    key = Text(required=False, allow_blank=True, max_length=1024)
    status = Text(required=False, allow_blank=True, max_length=32)
    tag = Boolean(required=False, allow_null=True, default=None)

    def validate_handle(self, value: str) -> Source:
        try:
            return Source.handle(value)
        except InvalidReference as error:
            raise serializers.ValidationError(str(error)) from error

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        names = ("filename", "mimetype", "size", "container", "key")
        # An empty text is unknown, and unchanged. A size of 0 is known.
        facts = {name: None if attrs.get(name) == "" else attrs.get(name) for name in names}
        return {**attrs, "facts": Facts(**facts, store_status=attrs.get("status") or None)}


class PermitSerializer(serializers.Serializer[Any]):
    api_key = serializers.CharField()
    policy = serializers.CharField()
    signature = serializers.CharField()
    expires_in = serializers.IntegerField()
    upload_url = serializers.CharField()
    store = serializers.DictField(child=serializers.CharField())
    max_size = count()
    max_files = count()
    mimetypes = serializers.ListField(child=serializers.CharField())


class UploadViewSet(View):
    """Both operations require ``add_asset``. The app's secret never leaves the server."""

    @operation("add_asset", returns=PermitSerializer, problems=(NOT_CONFIGURED,), operates=True)
    @action(detail=False, methods=["post"])
    def permit(self, request: Request) -> Response:
        """Return a policy that can store files for some minutes and do nothing else."""
        try:
            rules = upload_policy.rules_for(request.user, request._request)
            permit = upload_policy.permit(rules)
        except UploadRefused as error:
            raise PermissionDenied(_("You do not have permission to upload files.")) from error
        except ConfigurationError as error:
            raise _not_configured() from error
        response = self.respond(
            {
                "api_key": permit.api_key,
                "policy": permit.policy,
                "signature": permit.signature,
                # Not only as a time: the client's clock may differ.
                "expires_in": int((permit.expires_at - timezone.now()).total_seconds()),
                "upload_url": permit.upload_url,
                "store": rules.storage.options,
                "max_size": rules.max_size,
                "max_files": rules.max_files,
                "mimetypes": rules.mimetypes,
            }
        )
        response["Cache-Control"] = "no-store"
        return response

    @operation(
        "add_asset",
        body=CompleteBody,
        returns=AssetSerializer,
        status=CREATED,
        problems=(UNAVAILABLE, NOT_CONFIGURED),
    )
    @action(detail=False, methods=["post"])
    def complete(self, request: Request) -> Response:
        """Register a stored file; 201 if it is new, 200 if it was registered before.

        If users have a scope or custom rules, Filestack is called for the file's container and key,
        and a file outside them is rejected with 400. The webhook of the same upload finds the
        asset.
        """
        body = self.body
        handle = body["handle"]
        try:
            facts = upload_policy.confirmed(
                handle.reference, body["facts"], user=request.user, request=request._request
            )
            return registered(self, handle, facts, tag=body["tag"], field="handle")
        except UploadRefused as error:
            raise ValidationError({"handle": [str(error)]}) from error
        except FilestackError as error:
            detail = _("Filestack could not confirm the upload. Try again later.")
            raise ProblemError(UNAVAILABLE, detail) from error
        except ConfigurationError as error:
            raise _not_configured() from error


def _not_configured() -> ProblemError:
    detail = _(
        "Uploads are not configured on this server. Its system checks list what is missing."
    )
    return ProblemError(NOT_CONFIGURED, detail)
