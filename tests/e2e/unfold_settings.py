"""The browser tests' settings with django-unfold, a theme that some hosts put on their admin."""

from __future__ import annotations

from tests.e2e.settings import *  # noqa: F403  changed here

INSTALLED_APPS = ["unfold", *INSTALLED_APPS]  # noqa: F405  as above
MIDDLEWARE = [
    each
    for each in MIDDLEWARE  # noqa: F405  as above
    # The theme's own pages contain inline styles, and evaluated scripts.
    if not each.endswith(("StrictPolicy", "ContentSecurityPolicy"))
]
