"""The test settings with drf-spectacular, installed exactly as ``docs/api.md`` says."""

import re
from pathlib import Path

from tests.settings import *  # noqa: F403  # extends the settings
from tests.settings import FILESTACK_TAGS, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS]  # the block below appends to it


def documented(document: str, setting: str) -> str:
    """Return the Python block of a document that assigns ``setting``."""
    text = (Path(__file__).resolve().parents[2] / document).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if f"{setting} = " in block)
    return str(block)


ROOT_URLCONF = "tests.schema.urls"
DEBUG = False
# Every request sends its password, so a fast hasher is enough.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Enqueued tasks stay queued: nothing is tagged during the requests.
CELERY_TASK_ALWAYS_EAGER = False
CELERY_BROKER_URL = "memory://"
# More requests than a person sends; a 429 would hide what is tested.
FILESTACK_TAGS = FILESTACK_TAGS | {
    "WRITES_PER_MINUTE": None,
    "NEW_TAGS_PER_HOUR": None,
    "NEW_TAGS_PER_HOUR_IN_SCOPE": None,
    # Workflows to start: one without a name, one with.
    "WORKFLOW_ID": "W1",
    "WORKFLOWS": {"review": "W2"},
}
exec(documented("docs/api.md", "SPECTACULAR_SETTINGS"))  # noqa: S102  INSTALLED_APPS and settings from the manual
