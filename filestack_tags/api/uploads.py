"""Direct uploads from a client to Filestack: a policy first, then registering the file."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from filestack_tags import tasks
from filestack_tags.assets import upload_policy
from filestack_tags.assets.registry import Facts
from filestack_tags.assets.visibility import scope_of
from filestack_tags.db.replicas import read_alias
from filestack_tags.exceptions import (
    ConfigurationError,
    FilestackError,
    InvalidReference,
    OutOfScope,
    UploadRefused,
)
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset

from . import problems
from .base import View, person
from .bodies import said
from .errors import Refused
from .fields import Boolean, Handle, Integer, Text
from .representation import describe
from .serializers import Body

ADD = ("filestack_tags.add_asset",)


class CompleteBody(Body):
    """Filestack's response to a client that stored a file."""

    handle = Handle()
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


class UploadViewSet(View):
    """Both operations require ``add_asset``. The app's secret never leaves the server."""

    required_permissions: ClassVar = {"permit": ADD, "complete": ADD}
    operations: ClassVar = frozenset({"permit"})

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
        body: dict[str, Any] = {
            "api_key": permit.api_key,
            "policy": permit.policy,
            "signature": permit.signature,
            # Not only as a time: the client's clock may differ.
            "expires_in": int((permit.expires_at - timezone.now()).total_seconds()),
            "upload_url": permit.upload_url,
            "store": rules.storage.options,
            "max_size": rules.max_size,
            "max_files": rules.max_files,
            "mimetypes": list(rules.mimetypes),
        }
        return Response(body, headers={"Cache-Control": "no-store"})

    @action(detail=False, methods=["post"])
    def complete(self, request: Request) -> Response:
        """Register a stored file; 201 if it is new, 200 if it was registered before.

        If users have a scope or custom rules, Filestack is called for the file's container and key,
        and a file outside them is rejected with 400. The webhook of the same upload finds the
        asset.
        """
        body = said(CompleteBody, request)
        if body["tag"] and not request.user.has_perm("filestack_tags.tag_asset"):
            raise PermissionDenied(
                _(
                    "You do not have permission to tag files. "
                    'To register the file only, omit "tag".'
                )
            )
        facts = Facts(
            filename=body.get("filename") or None,
            mimetype=body.get("mimetype") or None,
            size=body.get("size"),
            container=body.get("container") or None,
            key=body.get("key") or None,
            store_status=body.get("status") or None,
        )
        handle = body["handle"]
        try:
            asset, created = tasks.register(
                handle,
                facts=upload_policy.confirmed(
                    handle.reference, facts, user=request.user, request=request._request
                ),
                uploader=person(request),
                trigger="api",
                tag=body["tag"],
                within=scope_of(request.user),
            )
        except (OutOfScope, UploadRefused) as error:
            raise ValidationError({"handle": [str(error)]}) from error
        except FilestackError as error:
            detail = _("Filestack could not confirm the upload. Try again later.")
            raise Refused(problems.UNAVAILABLE, detail) from error
        except ConfigurationError as error:
            raise _not_configured() from error
        (shown,) = describe([asset.pk], read_alias(Asset))
        place = reverse(
            "filestack_tags_api:asset-detail", kwargs={"pk": asset.pk}, request=request
        )
        code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
        return Response(shown, status=code, headers={"Location": place})


def _not_configured() -> Refused:
    detail = _(
        "Uploads are not configured on this server. Its system checks list what is missing."
    )
    return Refused(problems.NOT_CONFIGURED, detail)
