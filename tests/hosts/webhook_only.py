"""A host that uses only the webhook: no admin, no REST framework, no sessions."""

from tests.settings import *  # noqa: F403  extends the suite's settings

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "filestack_tags"]
MIDDLEWARE: list[str] = []
TEMPLATES: list[object] = []
ROOT_URLCONF = "filestack_tags.urls"
