"""The settings of the search benchmark, with the admin's pages."""

from __future__ import annotations

from benchmarks.search.settings import *  # noqa: F403  extended here

ROOT_URLCONF = "benchmarks.admin.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    *INSTALLED_APPS,  # noqa: F405  of the search benchmark
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# Picture URLs are signed, as in any installation that shows them.
FILESTACK_TAGS = {"API_KEY": "AKEY", "APP_SECRET": "BENCHMARK00000000000000000"}
