"""The form that starts a bulk job. It parses the input; the service checks it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filestack_tags.admin.lookups import is_number
from filestack_tags.curation import bulk
from filestack_tags.db.text import MAX_LABEL_LENGTH
from filestack_tags.models import BulkJob
from filestack_tags.tagging import workflows

FIELDS = {
    "tag": ("tag",),
    "low": ("confidence",),
    "high": ("confidence",),
    "tagger": ("tagger",),
    "format": ("format",),
}
"""The parameter of an action that each field belongs to."""


class BulkForm(forms.Form):
    """An action on all matches, and its parameters."""

    query = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        strip=True,
        widget=forms.TextInput(attrs={"dir": "auto", "class": "vTextField"}),
        help_text=gettext_lazy("Leave empty for all assets."),
    )
    asset_ids = forms.CharField(required=False, widget=forms.HiddenInput)
    key = forms.CharField(required=False, widget=forms.HiddenInput)
    action = forms.ChoiceField(label=gettext_lazy("Action"))
    tag = forms.CharField(
        label=gettext_lazy("Tag"),
        required=False,
        max_length=MAX_LABEL_LENGTH,
        widget=forms.TextInput(attrs={"dir": "auto", "class": "vTextField"}),
        help_text=gettext_lazy(
            "A removed tag counts as rejected, so tagging an asset again does not add it."
        ),
    )
    low = forms.IntegerField(
        label=gettext_lazy("Confidence from"), required=False, min_value=0, max_value=100
    )
    high = forms.IntegerField(
        label=gettext_lazy("Confidence to"), required=False, min_value=0, max_value=100
    )
    tagger = forms.ChoiceField(label=gettext_lazy("Workflow"), required=False)
    format = forms.ChoiceField(
        label=gettext_lazy("Format"),
        required=False,
        choices=(
            ("csv", "CSV"),
            ("csv-bom", gettext_lazy("CSV for Excel")),
            ("jsonl", "JSON lines"),
        ),
    )

    def __init__(self, *args: Any, actions: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = workflows.taggers()
        choices = [
            (action, str(BulkJob.Action(action).label).capitalize())
            for action in actions
            if names or action != BulkJob.Action.WORKFLOW
        ]
        action, tagger = self.fields["action"], self.fields["tagger"]
        action.choices = choices  # type: ignore[attr-defined]  # a ChoiceField
        tagger.choices = [  # type: ignore[attr-defined]  # a ChoiceField
            (name, name.partition(":")[2] or name) for name in names
        ]
        self.initial.setdefault("key", uuid.uuid4().hex)
        for name, parameters in FIELDS.items():
            takers = [
                taker for taker, takes in bulk.TAKES.items() if takes.intersection(parameters)
            ]
            if name == "tagger":
                takers = [BulkJob.Action.WORKFLOW]
            self.fields[name].widget.attrs["data-fst-actions"] = " ".join(takers)

    def clean_asset_ids(self) -> tuple[int, ...] | None:
        words = self.cleaned_data["asset_ids"].replace(",", " ").split()
        if not all(map(is_number, words)):
            raise forms.ValidationError(_("The selection is invalid. Select the items again."))
        return tuple(map(int, words)) or None

    def job_request(self) -> bulk.BulkRequest:
        """Return the request for the job; parameters that the action does not use are left out."""
        data = self.cleaned_data
        takes = bulk.TAKES[data["action"]]
        low, high = data.get("low"), data.get("high")
        has_range = "confidence" in takes and (low is not None or high is not None)
        return bulk.BulkRequest(
            action=data["action"],
            query=data["query"],
            asset_ids=data["asset_ids"],
            tag=data["tag"] if "tag" in takes else "",
            confidence=(low or 0, 100 if high is None else high) if has_range else None,
            tagger=data["tagger"] if data["action"] == BulkJob.Action.WORKFLOW else "",
            format=data["format"] if "format" in takes else "",
        )
