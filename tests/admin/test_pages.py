"""Every page of the admin opens, and list filters have the attributes that themes read."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from .everything import make_everything, own_pages, screens, standard_pages

pytestmark = pytest.mark.django_db


def test_every_page_opens(client: Client) -> None:
    user = User.objects.create_superuser("root")
    client.force_login(user)
    rows = make_everything(user)
    assert {model for model, _screen in screens()} == set(rows)
    pages = {**standard_pages(rows), **own_pages(rows)}
    answers = {name: client.get(url).status_code for name, url in pages.items()}
    assert {name: status for name, status in answers.items() if status != 200} == {}


def test_every_list_filter_has_a_name_that_themes_can_read(rf: RequestFactory) -> None:
    """django-unfold shows no list with a filter that has neither."""
    user = User.objects.create_superuser("root")
    for _model, screen in screens():
        request = rf.get("/")
        request.user = user
        for spec in screen.get_changelist_instance(request).get_filters(request)[0]:
            names = (getattr(spec, "field_path", ""), getattr(spec, "parameter_name", ""))
            assert any(names), (screen, spec)
