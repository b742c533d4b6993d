"""``{% filestack_tags_problems %}``: problems that need attention, for pages of the admin."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django import template
from django.db import DatabaseError
from django.template.context import Context

from filestack_tags.assets.visibility import sees_everything
from filestack_tags.db.transactions import atomic
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.operations.status import problems

register = template.Library()

PERMISSION = "filestack_tags.view_circuit"
OPERATIONS = "filestack_tags.view_heartbeat"


@register.inclusion_tag("filestack_tags/admin/problems.html", takes_context=True)
def filestack_tags_problems(context: Context) -> dict[str, Any]:
    """Show why nothing is tagged to users who may view circuits; nothing if all is well.

    Users who may view the operations page get a link to it.
    """
    request = context.get("request")
    user: Any = getattr(request, "user", None)
    if user is None:
        return {"problems": ()}
    shown: dict[str, Any] = {"may_operate": _may_operate(user), "problems": ()}
    if user.has_perm(PERMISSION):
        # An error must not break a transaction around the page, nor a missing table the index.
        with suppress(DatabaseError), atomic():
            shown["problems"] = problems()
    return shown


def _may_operate(user: Any) -> bool:
    try:
        return bool(user.has_perm(OPERATIONS) and sees_everything(user))
    except (
        ConfigurationError
    ):  # the system checks have details; the index must open nevertheless
        return False
