"""Decisions about tags: the buttons of a page, and the messages about their results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filestack_tags import curation
from filestack_tags.admin.forms import AddTagForm, ConfidenceForm
from filestack_tags.admin.login_redirect import is_script
from filestack_tags.admin.lookups import is_number
from filestack_tags.assets import tags
from filestack_tags.assets.visibility import assets_of, decisions_of, tags_named_to
from filestack_tags.curation import throttle
from filestack_tags.db.transactions import run_with_retry
from filestack_tags.exceptions import CurationError, DecidedMeanwhile
from filestack_tags.models import Asset, Tag, TagDecision

ORIGIN = TagDecision.Origin.ADMIN

WORDS = {
    "accept": gettext_lazy("Accepted %(tag)s."),
    "reject": gettext_lazy("Rejected %(tag)s."),
    "withdraw": gettext_lazy("Withdrew the decision about %(tag)s."),
    "change": gettext_lazy("Set the confidence of %(tag)s to %(confidence)d."),
    "add": gettext_lazy("Added %(tag)s."),
}
"""The buttons, which are acts of a decision, and the message of each."""

CONFIRM = "confirm"
"""The parameter that makes a page show :class:`Question`."""

DECIDED = "decided"
"""The parameter with the id of the decision that led to a page, for the page's script."""


@dataclass(frozen=True)
class DecisionResult:
    """A decision that was made: the message, and its id, None if nothing changed."""

    text: str
    decision_id: int | None

    def parameters(self, request: HttpRequest) -> dict[str, Any]:
        """Return the parameters for the page to which a script is redirected; none for other
        clients.
        """
        return {DECIDED: self.decision_id} if self.decision_id and is_script(request) else {}


@dataclass(frozen=True)
class Question:
    """Asks whether to override the decision that another user made meanwhile.

    Args:
        verb: the button that was pressed.
        asset: the asset.
        tag: the tag.
        confidence: the confidence that was submitted with it, "" if none.
        seen: id of the other user's decision.
    """

    verb: str
    asset: Asset
    tag: Tag
    confidence: str
    seen: int


def decide(asset_id: int, data: QueryDict, user: AbstractBaseUser) -> DecisionResult:
    """Make the decision of the button that was pressed.

    Raises:
        DecidedMeanwhile: when another user decided since the page was loaded, by its input
            ``seen``.
        CurationError: when the decision cannot be made, or there is no such button.
    """
    if "undo" in data:
        return undo(data, user, asset_id=asset_id)
    verb = next((verb for verb in WORDS if verb in data), "")
    visible_tags = tags_named_to(user, on=asset_id)
    confidence = None
    if verb == "add":
        form = AddTagForm(data, prefix="add")
        _require_valid(form)
        name, confidence = form.cleaned_data["name"], form.cleaned_data["confidence"]
        throttle.count_new_tag(name, user=user)
        (tag_id,) = run_with_retry(partial(tags.resolve, [name])).values()
    else:
        tag = visible_tags.filter(pk=number_in(data.get(verb, ""))).first() if verb else None
        name, tag_id = str(tag), tag.pk if tag else 0
    if not tag_id:
        raise CurationError(_("The decision or the tag does not exist."))
    if verb == "change":
        confidence_form = ConfidenceForm(data)
        _require_valid(confidence_form)
        confidence = confidence_form.cleaned_data["confidence"]
    seen = data.get("seen", "")
    (outcome,) = curation.decide_many(
        verb,
        [(asset_id, tag_id)],
        user=user,
        origin=ORIGIN,
        confidence=confidence,
        seen=number_in(seen) if seen else None,
    )
    # The typed name may be an alias of a tag whose name this user must not see.
    visible_tag = visible_tags.filter(pk=tag_id).first()
    if isinstance(outcome.error, DecidedMeanwhile) and visible_tag is None:
        raise CurationError(_("Another user reviewed this tag. Nothing was changed."))
    if outcome.error is not None:
        raise outcome.error
    text = str(WORDS[verb]) % {"tag": visible_tag or name, "confidence": confidence or 0}
    return DecisionResult(text, outcome.decision_id)


def conflict_message(error: DecidedMeanwhile) -> str:
    """Return the message for a decision that another user's decision prevented."""
    return _("%(decision)s Nothing was changed.") % {"decision": error}


def confirmation_parameters(data: QueryDict, error: DecidedMeanwhile) -> dict[str, str]:
    """Return the parameters that make a page ask whether to override a decision."""
    entry, verb = error.decision, next(verb for verb in WORDS if verb in data)
    confidence = data.get("confidence", data.get("add-confidence", ""))
    return {CONFIRM: f"{verb}:{entry.asset_id}:{entry.tag_id}:{entry.pk}:{confidence}"}


def question(data: QueryDict, user: AbstractBaseUser) -> Question | None:
    """Return the question that :func:`confirmation_parameters` asked for.

    None if the user may not see its asset or tag.
    """
    verb, *numbers = data.get(CONFIRM, "").split(":")
    if verb not in WORDS or len(numbers) != 4:
        return None
    asset = assets_of(user).filter(pk=number_in(numbers[0])).first()
    if asset is None:
        return None
    tag = tags_named_to(user, on=asset.pk).filter(pk=number_in(numbers[1])).first()
    if tag is None:
        return None
    # A tag that was added by name has a row now; otherwise the decision would not have been
    # refused.
    confidence = numbers[3] if verb == "change" else ""
    act = "accept" if verb == "add" else verb
    return Question(act, asset, tag, confidence, seen=number_in(numbers[2]))


def undo(
    data: QueryDict, user: AbstractBaseUser, *, asset_id: int | None = None
) -> DecisionResult:
    """Undo the decision of the button, which must be about this asset if one is given.

    Raises:
        CurationError: when it does not exist, or another decision was made since.
    """
    number = number_in(data.get("undo", ""))
    decisions = decisions_of(user).filter(pk=number).select_related("tag")
    if asset_id is not None:
        decisions = decisions.filter(asset=asset_id)
    decision = decisions.first()
    if decision is None:
        raise CurationError(_("The decision or the tag does not exist."))
    curation.undo(decision.pk, user=user, origin=ORIGIN)
    return DecisionResult(_("Undid the decision about %(tag)s.") % {"tag": decision.tag}, None)


def current_user(request: HttpRequest) -> AbstractBaseUser:
    """Return the user; admin pages require a login."""
    return cast("AbstractBaseUser", request.user)


def _require_valid(form: Any) -> None:
    if not form.is_valid():
        raise CurationError(
            " ".join(str(text) for texts in form.errors.values() for text in texts)
        )


def number_in(text: str) -> int:
    """Return an id, or 0, which is never an id."""
    return int(text) if is_number(text) else 0
