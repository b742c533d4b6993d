"""The interface in German and Spanish: complete, with its placeholders, and compiled."""

from __future__ import annotations

import gettext
import re
import shutil
from pathlib import Path
from typing import Any

import django
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from django.core.management import call_command
from django.test import Client
from django.utils import translation

import filestack_tags
from filestack_tags.models import Asset

PACKAGE = Path(filestack_tags.__file__).parent
LANGUAGES = ("de", "es")
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|\{\w+\}|</?\w+[^>]*>")


def path(language: str, kind: str = "po") -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / f"django.{kind}"


def catalogue(file: Path) -> Catalog:
    with file.open("rb") as opened:
        return read_po(opened)


def messages(language: str) -> list[Message]:
    return [message for message in catalogue(path(language)) if message.id]


def texts(said: Any) -> tuple[str, ...]:
    """Return the forms of a message: one, or those of its plural."""
    return (said,) if isinstance(said, str) else tuple(said)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_and_none_by_guessing(language: str) -> None:
    missing = [message.id for message in messages(language) if not all(texts(message.string))]
    guessed = [message.id for message in messages(language) if message.fuzzy]
    assert not missing, "Translate these in the .po file, then run: make messages"
    assert not guessed, "Look at these in the .po file, and take their mark 'fuzzy' away"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_translation_has_the_placeholders_and_marks_of_its_message(language: str) -> None:
    different = []
    for message in messages(language):
        # In the singular, a number may be left out.
        allowed = [sorted(PLACEHOLDER.findall(text)) for text in texts(message.id)]
        for form in texts(message.string):
            same_ends = [
                len(form) - len(form.strip(" \n")) == len(text) - len(text.strip(" \n"))
                for text in texts(message.id)
            ]
            if sorted(PLACEHOLDER.findall(form)) not in allowed or not any(same_ends):
                different.append(form)
    assert not different


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    with path(language, "mo").open("rb") as opened:
        compiled = gettext.GNUTranslations(opened)
    for message in messages(language):
        context = f"{message.context}\x04" if message.context else ""
        if isinstance(message.id, str):
            assert compiled.gettext(context + message.id) == message.string
        else:
            one, many = message.id
            assert compiled.ngettext(context + one, many, 1) == message.string[0]
            assert compiled.ngettext(context + one, many, 2) == message.string[-1]


@pytest.mark.skipif(not shutil.which("xgettext"), reason="needs GNU gettext")
def test_no_message_of_the_code_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "app", ignore=shutil.ignore_patterns("locale", "*.pyc"))
    (tmp_path / "app" / "locale").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    call_command("makemessages", locale=["de"], verbosity=0)
    used = {
        (message.context, texts(message.id))
        for message in catalogue(tmp_path / "app/locale/de/LC_MESSAGES/django.po")
        if message.id
    }
    for language in LANGUAGES:
        known = {(message.context, texts(message.id)) for message in messages(language)}
        assert not used - known, "Run: make messages, and translate what is new"
        assert not known - used, "Run: make messages"


@pytest.mark.parametrize("language", LANGUAGES)
def test_messages_that_django_has_too_are_translated_as_there(language: str) -> None:
    # Django merges the catalogs of all apps: another translation would change the host's pages.
    ours = {message.id: message.string for message in messages(language) if not message.context}
    for folder in ("conf", "contrib/admin", "contrib/auth"):
        file = f"{folder}/locale/{language}/LC_MESSAGES/django.mo"
        with (Path(django.__file__).parent / file).open("rb") as opened:
            theirs = gettext.GNUTranslations(opened)
        for text, translated in ours.items():
            if isinstance(text, str) and theirs.gettext(text) != text:
                assert translated == theirs.gettext(text), text


@pytest.mark.parametrize(
    ("language", "words"),
    [("de", ("Schlagwort", "verschlagwortet")), ("es", ("etiqueta", "recurso"))],
)
def test_the_admin_speaks_the_language_of_its_reader(
    language: str, words: tuple[str, ...], admin_client: Client, settings: Any
) -> None:
    settings.LANGUAGE_CODE = language
    with translation.override(language):
        page = admin_client.get("/admin/filestack_tags/asset/").content.decode()
        assert Asset.State.TAGGED.label in {"verschlagwortet", "etiquetado"}
    assert any(word in page for word in words)
