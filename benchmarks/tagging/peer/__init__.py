"""The usual solution with Celery and Filestack's SDK: a task, a call, and rows one by one."""
