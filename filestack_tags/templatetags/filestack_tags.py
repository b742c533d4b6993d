"""``{% filestack_tags_concerns %}``: what somebody should look at, for pages of the admin."""

from __future__ import annotations

from typing import Any

from django import template
from django.db import DatabaseError
from django.template.context import Context

from filestack_tags.operations import concerns
from filestack_tags.transactions import atomic

register = template.Library()

PERMISSION = "filestack_tags.view_circuit"


@register.inclusion_tag("filestack_tags/admin/concerns.html", takes_context=True)
def filestack_tags_concerns(context: Context) -> dict[str, Any]:
    """Show why nothing is tagged, to whoever may look at circuits; nothing, while all is well."""
    request = context.get("request")
    user: Any = getattr(request, "user", None)
    if user is None or not user.has_perm(PERMISSION):
        return {"concerns": ()}
    try:
        with atomic():  # an error must not spoil a transaction around the page
            return {"concerns": concerns()}
    except DatabaseError:  # not migrated yet: the admin has to open nevertheless
        return {"concerns": ()}
