"""Threads that send, wait and work side by side. No Django, no Celery."""
