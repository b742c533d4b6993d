"""Outbound webhooks: the endpoints, and the state of each message."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from filestack_tags import tasks
from filestack_tags.admin.base import BaseAdmin, UnscopedAdmin
from filestack_tags.admin.changes import ChangesModelForm
from filestack_tags.admin.display import raw_block
from filestack_tags.assets.visibility import sees_everything
from filestack_tags.conf import get_settings
from filestack_tags.exceptions import EndpointError
from filestack_tags.models import OutboundEndpoint, OutboundMessage
from filestack_tags.outbound import delivery, outbox

SECRET_TO_SHOW = "filestack_tags_secret"  # noqa: S105  # a key, not a secret
"""The session key of the endpoint whose secret is shown next."""


class EndpointForm(ChangesModelForm):
    """The URL and the events of an endpoint; the service checks them."""

    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=[
            (event.value, f"{event.value} ({event.label})") for event in OutboundMessage.Event
        ],
        initial=outbox.EVENTS,
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = OutboundEndpoint
        fields = ("url", "description", "events", "is_active")
        widgets = {"url": forms.TextInput(attrs={"class": "vTextField", "dir": "ltr"})}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                delivery.check_endpoint(url=cleaned["url"], events=cleaned["events"])
            except EndpointError as error:
                self.add_error("url", str(error))
        return cleaned


@admin.register(OutboundEndpoint)
class WebhookEndpointAdmin(BaseAdmin):
    """For users who may see all assets, since an endpoint receives messages about all of them."""

    form = EndpointForm
    list_display = ("__str__", "url", "event_names", "is_active", "created_at")
    sortable_by = ()
    change_form_template = "filestack_tags/admin/webhook_endpoint.html"

    def get_urls(self) -> list[URLPattern]:
        secret_view = never_cache(require_http_methods(["GET", "POST"])(self.secret_view))
        view = self.admin_site.admin_view(secret_view)
        return [
            path("<int:pk>/secret/", view, name="filestack_tags_outboundendpoint_secret"),
            *super().get_urls(),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and sees_everything(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and sees_everything(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and sees_everything(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and sees_everything(request.user)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "GET" and not get_settings().OUTBOUND_WEBHOOKS:
            messages.warning(request, _("OUTBOUND_WEBHOOKS is off, so no webhooks are sent."))
        return super().changelist_view(request, extra_context)

    def save_model(
        self, request: HttpRequest, obj: OutboundEndpoint, form: EndpointForm, change: bool
    ) -> None:
        obj.pk = delivery.save_endpoint(**form.cleaned_data, endpoint_id=obj.pk).pk

    def delete_model(self, request: HttpRequest, obj: OutboundEndpoint) -> None:
        delivery.delete_endpoint(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for pk in list(queryset.values_list("pk", flat=True)):
            delivery.delete_endpoint(pk)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """List only the endpoints: their messages may be many, and are deleted too."""
        return [str(endpoint) for endpoint in objs], {}, set(), []

    def response_add(
        self, request: HttpRequest, obj: OutboundEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._redirect_to_secret(request, obj.pk)

    def secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the secret of an endpoint, once; POST gives it a new one first.

        A separate page, so that reloading it creates neither an endpoint nor a secret.
        """
        endpoint = self.get_object(request, str(pk))
        if request.method == "POST":
            if endpoint is None or not self.has_change_permission(request, endpoint):
                raise PermissionDenied
            if not delivery.new_secret(pk, known=request.POST.get("rotated_at")):
                return redirect(self._url("secret", pk))
            self.log_change(request, endpoint, "secret")
            return self._redirect_to_secret(request, pk)
        if endpoint is None or request.session.pop(SECRET_TO_SHOW, None) != pk:
            text = _("A secret is shown only once. If you lost it, create a new one.")
            messages.warning(request, text)
            return redirect(self._url("changelist"))
        response = TemplateResponse(
            request,
            "filestack_tags/admin/webhook_secret.html",
            {
                **self.page_context(request, _("Secret of the webhook endpoint")),
                "endpoint": endpoint,
                "secret": delivery.secret_of(endpoint),
            },
        )
        response["Cache-Control"] = "no-store, private"
        return response

    def _redirect_to_secret(self, request: HttpRequest, pk: int) -> HttpResponse:
        request.session[SECRET_TO_SHOW] = pk
        return redirect(self._url("secret", pk))

    def _url(self, page: str, *args: int) -> str:
        name = f"admin:filestack_tags_outboundendpoint_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    @admin.display(description=gettext_lazy("events"))
    def event_names(self, endpoint: OutboundEndpoint) -> str:
        return ", ".join(endpoint.events)


@admin.register(OutboundMessage)
class OutboundMessageAdmin(UnscopedAdmin):
    heavy = ("body",)
    list_display = (
        *("__str__", "endpoint", "state", "http_status", "error"),
        *("attempts", "created_at", "due_at", "sent_at"),
    )
    list_select_related = ("endpoint",)
    list_filter = ("state", "event")
    sortable_by = ()
    search_fields = ("webhook_id__exact",)
    search_help_text = gettext_lazy("Searches for a complete webhook-id.")
    actions = ("resend",)
    fields = (
        *("event", "endpoint", "state", "http_status", "error", "attempts"),
        *("created_at", "due_at", "sent_at", "webhook_id", "payload"),
    )

    def has_resend_permission(self, request: HttpRequest) -> bool:
        allowed = request.user.has_perm("filestack_tags.resend_outboundmessage")
        return allowed and sees_everything(request.user)

    @admin.action(description=gettext_lazy("Resend selected messages"), permissions=["resend"])
    def resend(self, request: HttpRequest, queryset: QuerySet[OutboundMessage]) -> None:
        resent = len(tasks.resend(queryset.order_by("pk").values_list("pk", flat=True)))
        text = ngettext(
            "%(count)d message is being resent.", "%(count)d messages are being resent.", resent
        )
        level = messages.SUCCESS if resent else messages.WARNING
        self.message_user(request, text % {"count": resent}, level)

    @admin.display(description=gettext_lazy("body"))
    def payload(self, message: OutboundMessage) -> str | SafeString:
        return raw_block(message.body)
