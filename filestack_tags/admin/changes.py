"""Forms that write only what their user changed since the page was loaded."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _


class ChangesForm(forms.BaseForm):
    """A form whose page carries the values that it showed, as hidden inputs.

    When it is submitted, three values of each field are compared: the one that the page showed, the
    one in the database, and the submitted one.

    * A field that the user did not change keeps the value of the database.
    * A field with one item per line, or a multiple choice, gets the user's additions and removals
      applied to the value of the database.
    * Any other field that both this and another user changed is an error that shows the other
      value. Submitting the form again overwrites it.

    Lock the row before the form reads it; otherwise a concurrent change is missed. A request
    without the hidden inputs, such as one of a script, is compared with the database alone.
    """

    lines: tuple[str, ...] = ()
    """Text fields that hold one item per line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        instance = getattr(self, "instance", None)
        if instance is not None and instance.pk is None:
            return
        for name, field in self.fields.items():
            bound = self[name]
            is_shown = not self.is_bound or bound.html_initial_name in self.data
            field.show_hidden_initial = is_shown and not isinstance(
                field.widget, forms.MultiWidget
            )

    def full_clean(self) -> None:
        conflicts = self._merge() if self.is_bound else {}
        super().full_clean()
        for name, conflict in conflicts.items():
            self.add_error(name, conflict)

    def _merge(self) -> dict[str, str]:
        """Merge the submitted values with those of the database; return the conflicts."""
        conflicts: dict[str, str] = {}
        names = [name for name, field in self.fields.items() if field.show_hidden_initial]
        submission: Any = self.data
        data = submission.copy()
        for name in names:
            bound, field = self[name], self.fields[name]
            initial = _raw(field.hidden_widget(), data, bound.html_initial_name)
            submitted = _raw(field.widget, data, bound.html_name)
            current = bound.initial
            if _is_same(field, initial, submitted):
                _put(field.widget, data, bound.html_name, current)
            elif not _is_same(field, initial, current) and not _is_same(
                field, submitted, current
            ):
                if name in self.lines:
                    merged: Any = _three_way(*map(_lines, (initial, current, submitted)))
                    _put(field.widget, data, bound.html_name, "\n".join(merged))
                elif isinstance(field, forms.MultipleChoiceField):
                    merged = _three_way(initial or [], current or [], submitted or [])
                    _put(field.widget, data, bound.html_name, merged)
                else:
                    conflicts[name] = _(
                        "Another user changed this to “%(value)s” after you opened the page. "
                        "Save again to overwrite it with your value."
                    ) % {"value": _format_value(field, current)}
            _put(field.hidden_widget(), data, bound.html_initial_name, current)
        self.data = data
        return conflicts


class ChangesModelForm(ChangesForm, forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    """The form of every page of this package that changes a row."""


def _raw(widget: forms.Widget, data: Any, name: str) -> Any:
    value = widget.value_from_datadict(data, MultiValueDict(), name)
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def _is_same(field: forms.Field, first: Any, second: Any) -> bool:
    try:
        return not field.has_changed(field.to_python(first), second)
    except forms.ValidationError:
        return False  # no page of this package contains such a value


def _put(widget: forms.Widget, data: Any, name: str, value: Any) -> None:
    """Write a value as the widget would submit it."""
    if isinstance(widget, forms.CheckboxInput):
        value = "on" if value else None
    if isinstance(value, list | tuple | set):
        data.setlist(name, [str(item) for item in value])
    elif isinstance(widget, forms.CheckboxInput) and value is None:
        data.pop(name, None)
    else:
        data[name] = "" if value is None else str(value)


def _lines(text: Any) -> list[str]:
    return [line.strip() for line in str(text or "").splitlines() if line.strip()]


def _three_way(initial: list[str], current: list[str], submitted: list[str]) -> list[str]:
    """Apply the additions and removals between *shown* and *submitted* to *current*."""
    removed = set(initial) - set(submitted)
    merged = [item for item in current if item not in removed]
    return merged + [item for item in submitted if item not in {*initial, *merged}]


def _format_value(field: forms.Field, value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(field, forms.ChoiceField):
        labels = {str(key): str(label) for key, label in field.choices if key}  # type: ignore[misc, union-attr]  # no groups here
        return labels.get(str(value), str(value))
    return "–" if value in (None, "") else str(value)
