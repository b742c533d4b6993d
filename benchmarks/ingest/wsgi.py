"""The server's application, with Celery's made first, as a host's package does."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

from .celery_app import app

__all__ = ["app", "application"]

application = get_wsgi_application()
