"""Fields of request bodies and of query parameters.

Fields of bodies never convert JSON types: ``0`` is not the text "0".

``constraints`` of a field are keywords of JSON Schema for the OpenAPI schema, for rules that the
view or a service applies. A ``format`` that JSON Schema does not define means that a string of the
right length can still be rejected, for a reason that the problem describes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NoReturn

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from filestack_tags.db.text import MAX_LABEL_LENGTH, MAX_REFERENCE_LENGTH, label_key, label_name
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.filestack.sources import HANDLE

NO_NUL = r"^[^\u0000]*$"


class Text(serializers.CharField):
    """A JSON string; its length is that of the string as it was sent."""

    def __init__(self, *, constraints: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if not kwargs.get("allow_blank"):
            kwargs.setdefault("min_length", 1)
        super().__init__(**kwargs)
        self.constraints = {"pattern": NO_NUL, **(constraints or {})}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        text: str = super().to_internal_value(data)
        return text


class TagName(Text):
    """A text that can be a tag, as displayed."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", MAX_LABEL_LENGTH)
        super().__init__(constraints={"format": "tag-name"}, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            label_key(text)
            return label_name(text)
        except InvalidLabel as error:
            raise serializers.ValidationError(str(error)) from error


def search_text(**kwargs: Any) -> Text:
    """Return an optional field with a search."""
    return Text(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        constraints={"format": "tag-query"},
        **kwargs,
    )


def handle(**kwargs: Any) -> Text:
    """Return a field with the handle of a file, exactly as Filestack sent it."""
    pattern = {"pattern": f"^{HANDLE}$"}
    return Text(constraints=pattern, max_length=64, trim_whitespace=False, **kwargs)


def reference(name_format: str, **kwargs: Any) -> Text:
    """Return an optional field that names a file, or a part of it; :class:`.Source` checks it."""
    return Text(
        required=False,
        max_length=MAX_REFERENCE_LENGTH,
        constraints={"format": name_format},
        **kwargs,
    )


class Integer(serializers.IntegerField):
    """A JSON number without a fraction; ``1.0`` is the number 1, according to JSON Schema."""

    def to_internal_value(self, data: Any) -> int:
        is_number = isinstance(data, (int, float)) and not isinstance(data, bool)
        if not is_number or data != data // 1:  # rejects infinity and NaN, too
            self.fail("invalid")
        return int(data)


class Confidence(Integer):
    """A confidence from 0 to 100."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=100, **kwargs)


class Boolean(serializers.BooleanField):
    """``true`` or ``false``."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Choice(serializers.ChoiceField):
    """One of some JSON strings."""

    default_error_messages = {
        "invalid_choice": gettext_lazy('Invalid value "{input}". Allowed values: {choices}.'),
    }

    def fail(self, key: str, **values: Any) -> NoReturn:
        values["input"] = str(values.get("input"))[:50]
        super().fail(key, choices=", ".join(map(str, self.choices)), **values)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Strings(serializers.DictField):
    """A JSON object with strings as values.

    Args:
        max_keys: maximum number of members.
        max_key_length: maximum length of a member's name, in characters.
        max_value_length: maximum length of a value, in characters.
    """

    def __init__(
        self, *, max_keys: int, max_key_length: int, max_value_length: int, **kwargs: Any
    ) -> None:
        child = Text(allow_blank=True, trim_whitespace=False, max_length=max_value_length)
        super().__init__(child=child, **kwargs)
        self.max_keys, self.max_key_length = max_keys, max_key_length
        text = {"type": "string", "maxLength": max_value_length, **child.constraints}
        self.constraints = {
            "maxProperties": max_keys,
            "propertyNames": {"maxLength": max_key_length, "pattern": NO_NUL},
            "additionalProperties": text,
        }

    def to_internal_value(self, data: Any) -> dict[str, str]:
        texts: dict[str, str] = super().to_internal_value(data)
        if len(texts) > self.max_keys:
            raise serializers.ValidationError(
                _("An object can have at most %(limit)d members.") % {"limit": self.max_keys}
            )
        if any(len(key) > self.max_key_length or "\0" in key for key in texts):
            raise serializers.ValidationError(
                _("Keys can have at most %(limit)d characters and must not contain NUL.")
                % {"limit": self.max_key_length}
            )
        return texts


class Number(serializers.IntegerField):
    """A query parameter in decimal digits."""

    def to_internal_value(self, data: Any) -> int:
        if not (data.isascii() and data.isdigit() and len(data) < 20):
            self.fail("invalid")
        return int(data)


class Id(Number):
    """A query parameter that is the id of a row."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=2**63 - 1, required=False, **kwargs)


class Repeatable(serializers.ListField):
    """A query parameter that can be repeated; the empty list if it is absent."""


class CommaSeparated(serializers.ListField):
    """A query parameter with several of the *choices*, separated by commas."""

    def __init__(self, choices: Sequence[str], **kwargs: Any) -> None:
        super().__init__(child=Choice(choices), min_length=1, required=False, **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        return super().to_internal_value([name.strip() for name in data.split(",")])


class TagKeyField(serializers.CharField):
    """The key of the tag with this name."""

    def to_representation(self, value: Any) -> str:
        return label_key(value)


class EnumName(serializers.ChoiceField):
    """The name of a number of an enumeration, in lowercase."""

    def __init__(self, enum: type[IntEnum], **kwargs: Any) -> None:
        super().__init__(sorted(item.name.lower() for item in enum), **kwargs)
        self.names = {int(item): item.name.lower() for item in enum}

    def to_representation(self, value: Any) -> str:
        return self.names[value]
