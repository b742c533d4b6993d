"""Explain each error code: what it means, and how to fix it.

Rows store only the code, so that these texts can be improved later. The error text of the failed
call itself is on the run or the delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@dataclass(frozen=True, slots=True)
class Reason:
    """What an error code means, and what to do about it; texts for users."""

    meaning: str
    cure: str


def _reason(meaning: object, cure: object) -> Reason:
    return Reason(meaning, cure)  # type: ignore[arg-type]  # lazy texts


OF_ASSETS: Mapping[str, Reason] = {
    "abandoned": _reason(
        _("The process that ran it did not come back."),
        _(
            "Look whether workers are killed: for want of memory, or by a time limit shorter than "
            "READ_TIMEOUT. Then re-tag."
        ),
    ),
    "access_denied": _reason(
        _("Filestack refused the call."),
        _(
            "In the Filestack portal, look at the app's security settings, its plan and its "
            "whitelist of domains. Then try the circuit again."
        ),
    ),
    "configuration": _reason(
        _("A setting is missing or wrong."),
        _("Run manage.py check: it names the setting and says what to write. Then re-tag."),
    ),
    "connection_failed": _reason(
        _("No answer came: network, name resolution, TLS or a time-out."),
        _(
            "It is tried again by itself. If it stays, try to reach CDN_URL from the host of the "
            "worker, through its proxy and firewall; then re-tag."
        ),
    ),
    "file_not_found": _reason(
        _("Filestack does not know the file."),
        _(
            "Look whether it was deleted at Filestack, or whether the storage alias still leads "
            "there. Forget the assets whose file is gone."
        ),
    ),
    "file_too_large": _reason(
        _("The file or its picture is larger than the tagger reads."),
        _("Register a smaller rendition, or tag it by a tagger that needs no download."),
    ),
    "filestack_error": _reason(
        _("A call to Filestack failed."), _("Read the error on the run; then re-tag.")
    ),
    "invalid_application": _reason(
        _("Filestack does not know the API key."),
        _("Correct API_KEY, deploy, and try the circuit again; then re-tag."),
    ),
    "policy_rejected": _reason(
        _("Filestack refused the policy or its signature."),
        _(
            "If single files are refused, they probably belong to another Filestack app: remove "
            "them. If all files are refused, compare APP_SECRET with the portal and this "
            "machine's clock with the right time, then tag the failed assets again."
        ),
    ),
    "rate_limited": _reason(
        _("Filestack takes no more calls for now."),
        _(
            "It is tried again by itself. If it happens daily, set RATE_LIMIT below what the plan "
            "allows, or BUDGET_PER_DAY."
        ),
    ),
    "released": _reason(
        _("The call was not made, and not counted."),
        _("Nothing: the asset is as it was before."),
    ),
    "request_rejected": _reason(
        _("Filestack refuses this request for what it is."),
        _(
            "Read what it said on the run: most often a file that is no image, or a wrong "
            "TASKS_BEFORE_TAGS. Mend that, then re-tag."
        ),
    ),
    "server_error": _reason(
        _("Filestack failed at it."),
        _(
            "It is tried again by itself. Once Filestack answers again, re-tag what was given up "
            "meanwhile."
        ),
    ),
    "tagger_crashed": _reason(
        _("The tagger raised an error that it should not."),
        _("The log of the worker has the traceback. Mend the tagger, deploy, then re-tag."),
    ),
    "tagger_error": _reason(
        _("The tagger could not tag the file, or returned an invalid answer."),
        _("Read the error on the run, and fix the tagger if it names one; then tag again."),
    ),
    "tagger_unavailable": _reason(
        _("The tagger cannot run on a worker's host."),
        _(
            "Install what it lacks there, such as the extra local: "
            'pip install "django-filestack-tags[local]". Restart the worker, then re-tag.'
        ),
    ),
    "unexpected_reply": _reason(
        _("Something else came back than was asked for."),
        _(
            "Check CDN_URL and API_URL: a proxy or a page for logging in may answer there. The run "
            "has the reply."
        ),
    ),
    "unreadable_image": _reason(
        _("The bytes are no picture that the tagger reads."),
        _(
            "Look at the file: broken ones have to be uploaded again, other formats need "
            "another tagger. Then re-tag."
        ),
    ),
    "unusable_reply": _reason(
        _("The reply could not be stored."),
        _(
            "The worker's log has the traceback. Tag the asset again; if it fails again, report it."
        ),
    ),
    "workflow_deadline": _reason(
        _("A workflow job had no result within WORKFLOW_TIMEOUT."),
        _(
            "Look at the workflow's jobs in the Filestack portal, and whether its webhook reaches "
            "this site. Then run it again."
        ),
    ),
    "workflow_failed": _reason(
        _("A workflow job failed."),
        _("Look at the workflow in the Filestack portal, mend it, then run it again."),
    ),
    "workflow_task_failed": _reason(
        _("A task of a workflow failed."),
        _("The run names the task and its error. Mend the workflow, then run it again."),
    ),
}
"""By the code of a run or an asset; the codes of custom taggers are not included."""

OF_DELIVERIES: Mapping[str, Reason] = {
    "too_large": _reason(
        _("The body is larger than WEBHOOK_MAX_SIZE."),
        _(
            "Raise WEBHOOK_MAX_SIZE, and the limit of the proxy. Filestack sends the event again "
            "for about half a day; this delivery has nothing to replay."
        ),
    ),
    "payload": _reason(
        _("The payload cannot be read as that of its action."),
        _(
            "The delivery's page says what is wrong with it. If Filestack's format changed, "
            "upgrade this package, then replay; replaying alone will not help."
        ),
    ),
    "abandoned": _reason(
        _("The process that ran it did not come back, time after time."),
        _(
            "Look whether workers are killed, for want of memory or by a time limit; then replay."
        ),
    ),
    **dict.fromkeys(
        ("OperationalError", "InterfaceError"),
        _reason(
            _("The database could not be asked, or broke off."),
            _("Look at the database's log and its limit of connections; then replay."),
        ),
    ),
    "IntegrityError": _reason(
        _("The database refused a row."),
        _(
            "The delivery's page has the traceback. Report it with that; replay after the upgrade."
        ),
    ),
}
"""By the code of a delivery; for any other, which is the name of a Python exception, see
:func:`of_delivery`."""

UNKNOWN = _reason(
    pgettext_lazy("error", "Not said."), _("Read the error on the page of one of them.")
)
OF_A_TAGGER = _reason(
    _("An error of a tagger of this project."),
    _("The run and the log of the worker say more. Mend the tagger, then re-tag."),
)
OF_THE_CODE = _reason(
    _("The code that applies it failed."),
    _("The delivery's page has the traceback. Mend or report what it names, then replay."),
)


def of_asset(code: str) -> Reason:
    """Return what the error code of an asset or a run means."""
    return OF_ASSETS.get(code, OF_A_TAGGER if code else UNKNOWN)


def of_delivery(code: str) -> Reason:
    """Return what the error code of a delivery means."""
    return OF_DELIVERIES.get(code, OF_THE_CODE if code else UNKNOWN)
