"""Fields of request bodies. They never convert JSON types: ``0`` is not the text "0"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from filestack_tags.db.text import MAX_LABEL_LENGTH, MAX_REFERENCE_LENGTH, label_key, label_name
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.filestack.sources import HANDLE, STORAGE_ALIAS

NO_NUL = r"^[^\u0000]*$"


class Text(serializers.CharField):
    """A JSON string; its length is that of the string as it was sent.

    Args:
        constraints: keywords of JSON Schema for rules that the view or a service applies. A
            ``format`` that JSON Schema does not define means that a string of the right length can
            still be rejected, for a reason that ``errors`` describes.
    """

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


class Reference(Text):
    """A text that names a file, or a part of one; :class:`.Source` checks it.

    Args:
        name_format: the ``format`` in the schema.
    """

    def __init__(self, name_format: str = "file-reference", **kwargs: Any) -> None:
        kwargs.setdefault("max_length", MAX_REFERENCE_LENGTH)
        super().__init__(constraints={"format": name_format}, **kwargs)


class Handle(Text):
    """The handle of a file that Filestack stores, exactly as Filestack sent it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            constraints={"pattern": f"^{HANDLE}$"},
            max_length=64,
            trim_whitespace=False,
            **kwargs,
        )


class StorageAlias(Text):
    """The name of a storage alias."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            constraints={"pattern": f"^{STORAGE_ALIAS}$"},
            max_length=128,
            trim_whitespace=False,
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
