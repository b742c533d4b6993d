"""Run by tox outside the checkout: the installed wheel is complete and works alone."""

from __future__ import annotations

import sys
from importlib import metadata, resources

import django
from celery import Celery
from django.conf import settings
from django.core.management import call_command

settings.configure(
    SECRET_KEY="only for this check",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "filestack_tags",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    FILESTACK_TAGS={"API_KEY": "AKEY", "APP_SECRET": "SECRET", "WEBHOOK_SECRETS": ["W"]},
    USE_TZ=True,
)
django.setup()
Celery("wheel", set_as_current=True)

package = resources.files("filestack_tags")
if "site-packages" not in str(package):
    sys.exit(f"The package comes from {package}, not from the wheel.")
if not package.joinpath("py.typed").is_file():
    sys.exit("The wheel holds no py.typed.")
top = {file.parts[0] for file in metadata.files("django-filestack-tags") or []}
if surplus := {
    name for name in top if not name.startswith(("filestack_tags", "django_filestack"))
}:
    sys.exit(f"The wheel holds more than the package: {sorted(surplus)}")
call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
sys.stdout.write("The wheel is complete.\n")
