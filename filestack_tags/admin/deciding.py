"""Deciding about tags: what the buttons of a page say, done by curation and put into words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filestack_tags import curation, throttle
from filestack_tags.exceptions import CurationError
from filestack_tags.models import TagDecision
from filestack_tags.scoping import decisions_of, tags_named_to

from .forms import AddTagForm, ConfidenceForm

ORIGIN = TagDecision.Origin.ADMIN

DECISIONS: dict[str, tuple[Callable[..., object], Any]] = {
    "accept": (curation.accept, gettext_lazy("Accepted %(tag)s.")),
    "reject": (curation.reject, gettext_lazy("Rejected %(tag)s.")),
    "withdraw": (curation.withdraw, gettext_lazy("Withdrew the decision about %(tag)s.")),
}
"""What the buttons do, and what is said afterwards."""


def decide(asset_id: int, said: QueryDict, user: AbstractBaseUser) -> str:
    """Do what the pressed button says and return it in words.

    Raises:
        CurationError: when it cannot be done, or no button is known.
    """
    if "add" in said:
        form = AddTagForm(said, prefix="add")
        _require_valid(form)
        throttle.count_new_tag(form.cleaned_data["name"], user=user)
        row = curation.add(
            asset_id,
            form.cleaned_data["name"],
            user=user,
            confidence=form.cleaned_data["confidence"],
            origin=ORIGIN,
        )
        is_named = tags_named_to(user, on=asset_id).filter(pk=row.tag_id).exists()
        return _("Added %(tag)s.") % {"tag": row.tag if is_named else form.cleaned_data["name"]}
    if "undo" in said:
        return undo(said, user, asset_id=asset_id)
    verb = next((verb for verb in (*DECISIONS, "change") if verb in said), None)
    named = tags_named_to(user, on=asset_id)
    tag = named.filter(pk=_number(said.get(verb, ""))).first() if verb else None
    if verb is None or tag is None:
        raise CurationError(_("There is no such decision, or no such tag."))
    if verb == "change":
        given = ConfidenceForm(said)
        _require_valid(given)
        confidence = given.cleaned_data["confidence"]
        curation.change(asset_id, tag.pk, confidence, user=user, origin=ORIGIN)
        return _("Set the confidence of %(tag)s to %(confidence)d.") % {
            "tag": tag,
            "confidence": confidence,
        }
    change, words = DECISIONS[verb]
    change(asset_id, tag.pk, user=user, origin=ORIGIN)
    return str(words) % {"tag": tag}


def undo(said: QueryDict, user: AbstractBaseUser, *, asset_id: int | None = None) -> str:
    """Undo the decision that the button names, of this asset if one is given; say so.

    Raises:
        CurationError: when there is none, or somebody decided since.
    """
    number = _number(said.get("undo", ""))
    wanted = decisions_of(user).filter(pk=number).select_related("tag")
    if asset_id is not None:
        wanted = wanted.filter(asset=asset_id)
    decision = wanted.first()
    if decision is None:
        raise CurationError(_("There is no such decision, or no such tag."))
    curation.undo(decision.pk, user=user, origin=ORIGIN)
    return _("Undid the decision about %(tag)s.") % {"tag": decision.tag}


def person(request: HttpRequest) -> AbstractBaseUser:
    """Return who is at the admin, whose pages need a login."""
    return cast("AbstractBaseUser", request.user)


def _require_valid(form: Any) -> None:
    if not form.is_valid():
        raise CurationError(
            " ".join(str(text) for texts in form.errors.values() for text in texts)
        )


def _number(text: str) -> int:
    """Return an id, or 0, which none has."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
