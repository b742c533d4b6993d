"""What projects write with Celery and Filestack's SDK: a task makes one call and stores its tags."""
