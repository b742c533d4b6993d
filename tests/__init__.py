from hypothesis import settings

from .celery import app as celery_app

__all__ = ["celery_app"]

# How long one example takes says more about the machine than about the code.
settings.register_profile("suite", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=300, print_blob=True)
settings.load_profile("suite")
