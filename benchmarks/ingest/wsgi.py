"""The server's application; Celery's is created first, as in a host's package."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

from .celery_app import app

__all__ = ["app", "application"]

application = get_wsgi_application()
