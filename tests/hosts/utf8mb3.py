"""A host whose MariaDB stores three bytes a character: ``python -m tests.hosts.utf8mb3``."""

import json
import os
import sys

from tests.hosts.webhook_only import *  # noqa: F403  extends the suite's settings
from tests.settings import database

FILESTACK_TAGS = FILESTACK_TAGS | {"AUTO_TAG": False}  # noqa: F405  of the suite's settings
if "UTF8MB3_NAME" in os.environ:
    DATABASES = {
        "default": {**database(os.environ["DATABASE_URL"]), "NAME": os.environ["UTF8MB3_NAME"]}
    }


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.hosts.utf8mb3"
    import django

    django.setup()
    from django.core.checks import run_checks
    from django.core.management import call_command
    from django.test import Client
    from django.test.utils import setup_test_environment

    from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
    from filestack_tags.testing.payloads import fp_upload, fs_workflow
    from tests import signed_headers

    setup_test_environment()
    call_command("migrate", verbosity=0)
    for event in (
        fp_upload("one", filename="sun 🌞 Straße.jpg"),
        fs_workflow("two", tags={"sky 🌌": 90}, results={"note": {"data": {"a": "🌞"}}}),
        fs_workflow("three", results={"tags_🌞": {"error": "broken 🌞"}}),
    ):
        for body in (
            json.dumps(event).encode(),
            json.dumps(event, ensure_ascii=False).encode(),
        ):
            Client().generic(
                "POST", "/webhook/", body, "application/json", headers=signed_headers(body)
            )
    found = {
        "assets": list(Asset.objects.order_by("pk").values_list("reference", "filename")),
        "runs": list(TaggingRun.objects.order_by("pk").values_list("state", flat=True)),
        "deliveries": list(
            WebhookDelivery.objects.order_by("pk").values_list("state", "outcome")
        ),
        "checks": [found.id for found in run_checks(databases=["default"])],
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
