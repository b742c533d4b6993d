"""The Celery application of the test suite: tasks run eagerly, unless a test starts a worker."""

from celery import Celery

app = Celery("tests", set_as_current=True)
app.config_from_object("django.conf:settings", namespace="CELERY")
