"""Forms of the admin. They validate; services write."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filestack_tags.assets import tags
from filestack_tags.conf import get_settings
from filestack_tags.db.text import MAX_LABEL_LENGTH, label_key
from filestack_tags.exceptions import InvalidLabel, InvalidReference
from filestack_tags.filestack.private_hosts import require_public
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Tag, TagAlias
from filestack_tags.operations.status import not_configured

from .changes import ChangesModelForm


def require_tag(name: str) -> Tag:
    """Return the tag with this name or alias, read in one query.

    While a tag is merged, its name is an alias of the other one already, which is returned.

    Raises:
        ValidationError: when the tag does not exist.
    """
    try:
        key = label_key(name)
    except InvalidLabel as error:
        raise forms.ValidationError(str(error)) from error
    aliases = TagAlias.objects.filter(key=key)
    tags = Tag.objects.filter(Q(key=key) | Q(pk__in=aliases.values("tag")))
    if not tags:
        raise unknown_tag(name)
    return min(tags, key=lambda tag: tag.key == key)


def unknown_tag(name: str) -> forms.ValidationError:
    """Return the error for a name that is no tag, or none that the user may see."""
    return forms.ValidationError(_("There is no tag “%(name)s”.") % {"name": name})


class RegisterForm(ChangesModelForm):
    """A file to register."""

    tag = forms.BooleanField(
        label=gettext_lazy("Tag this file"),
        required=False,
        initial=True,
        help_text=gettext_lazy(
            "A file that already has tags keeps them. To get new tags, "
            "use “Re-tag” on its page."
        ),
    )

    class Meta:
        model = Asset
        fields = ("reference", "filename", "mimetype")
        help_texts = {
            "reference": gettext_lazy(
                "A Filestack handle, an external URL (https://…), or a path in a storage "
                "alias (src://ALIAS/PATH)."
            ),
            "mimetype": gettext_lazy("For example image/jpeg. Leave empty if unknown."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tag" in self.fields and (problem := not_configured()):
            self.fields["tag"].help_text = _(
                "%(problem)s Until this is fixed, files are registered but not tagged."
            ) % {"problem": problem}

    def clean_reference(self) -> str:
        try:
            source = Source.parse(self.cleaned_data["reference"])
            if source.kind == "url" and not get_settings().ALLOW_PRIVATE_URLS:
                require_public(source.reference)
        except InvalidReference as error:
            raise forms.ValidationError(str(error)) from error
        return source.reference


class StoredForm(forms.Form):
    """Filestack's response to a browser that stored a file."""

    handle = forms.CharField(max_length=64)
    filename = forms.CharField(max_length=1024, required=False)
    mimetype = forms.CharField(max_length=255, required=False)
    size = forms.IntegerField(min_value=0, required=False)
    container = forms.CharField(max_length=255, required=False)
    key = forms.CharField(max_length=1024, required=False)
    status = forms.CharField(max_length=32, required=False)

    def clean_handle(self) -> str:
        try:
            return Source.handle(self.cleaned_data["handle"]).reference
        except InvalidReference as error:
            raise forms.ValidationError(str(error)) from error


class AddTagForm(forms.Form):
    """A tag added by hand."""

    name = forms.CharField(label=gettext_lazy("Tag"), max_length=MAX_LABEL_LENGTH)
    confidence = forms.IntegerField(
        label=gettext_lazy("Confidence"),
        min_value=0,
        max_value=100,
        initial=100,
        required=False,
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        try:
            label_key(name)
        except InvalidLabel as error:
            raise forms.ValidationError(str(error)) from error
        return name

    def clean_confidence(self) -> int:
        confidence = self.cleaned_data["confidence"]
        return 100 if confidence is None else int(confidence)


class ConfidenceForm(forms.Form):
    """A confidence set by hand."""

    confidence = forms.IntegerField(
        label=gettext_lazy("Confidence"), min_value=0, max_value=100
    )


class ReviewForm(forms.Form):
    """The filter of the review queue. ``cleaned_data["tag"]`` is a :class:`Tag`, or ``None``."""

    LOW, HIGH = 40, 80

    tag = forms.CharField(
        label=gettext_lazy("Tag"), max_length=MAX_LABEL_LENGTH, required=False
    )
    low = forms.IntegerField(
        label=gettext_lazy("from"), min_value=0, max_value=100, required=False
    )
    high = forms.IntegerField(
        label=gettext_lazy("to"), min_value=0, max_value=100, required=False
    )
    q = forms.CharField(label=gettext_lazy("Search"), required=False)

    def clean_tag(self) -> Tag | None:
        name: str = self.cleaned_data["tag"]
        if not name:
            return None
        return require_tag(name)

    def clean_low(self) -> int:
        low: int | None = self.cleaned_data["low"]
        return self.LOW if low is None else low

    def clean_high(self) -> int:
        high: int | None = self.cleaned_data["high"]
        return self.HIGH if high is None else high


class TagForm(ChangesModelForm):
    """A tag's name, minimum, hiding and aliases. ``cleaned_data["aliases"]`` contains keys."""

    aliases = forms.CharField(
        label=gettext_lazy("Aliases"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 4, "dir": "auto"}),
        help_text=gettext_lazy("Other names of this tag, one per line."),
    )

    lines = ("aliases",)

    class Meta:
        model = Tag
        fields = ("name", "min_confidence", "hidden")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known_aliases: dict[str, int] = {}
        if self.instance.pk:
            self.known_aliases = dict(self.instance.aliases.values_list("key", "pk"))
            self.initial.setdefault("aliases", "\n".join(self.known_aliases))

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        self._require_free([name])
        return name

    def clean_aliases(self) -> list[str]:
        lines = [line for line in self.cleaned_data["aliases"].splitlines() if line.strip()]
        return self._require_free(lines)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name = cleaned.get("name")
        if name and label_key(name) in set(cleaned.get("aliases", ())) - set(
            self.known_aliases
        ):
            self.add_error("aliases", _("The name of a tag cannot be its alias."))
        return cleaned

    def _require_free(self, labels: list[str]) -> list[str]:
        try:
            keys = [label_key(label) for label in labels]
        except InvalidLabel as error:
            raise forms.ValidationError(str(error)) from error
        holders = tags.existing_ids(keys)
        taken = sorted(key for key, holder in holders.items() if holder != self.instance.pk)
        if taken:
            raise forms.ValidationError(
                _("Another tag already uses %(names)s.") % {"names": ", ".join(taken)}
            )
        return keys
