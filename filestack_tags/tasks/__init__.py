"""Celery tasks, and the functions that enqueue them.

Tasks are enqueued after commit, by a thread of the process
(:mod:`filestack_tags.concurrency.message_publisher`), so a broker that is down or does not answer
delays no request. The row is committed, and :func:`sweep` enqueues it again. Queues and routes are
up to the host: route ``filestack_tags.*`` as you like.
"""

from .actions import (
    merge,
    receive,
    record_model_file,
    register,
    replay,
    request_tagging,
    resend,
    retry_model_files,
    start_bulk_job,
    sync_model_files,
    undo_bulk_job,
    undo_merge,
)
from .celery_tasks import (
    merge_tags,
    process_inbox,
    prune,
    refresh_statistics,
    run_bulk_job,
    send_outbound,
    store_model_files,
    tag_asset,
    time_limits,
)
from .recovery import sweep

__all__ = [
    "merge",
    "merge_tags",
    "process_inbox",
    "prune",
    "receive",
    "record_model_file",
    "refresh_statistics",
    "register",
    "replay",
    "request_tagging",
    "resend",
    "retry_model_files",
    "run_bulk_job",
    "send_outbound",
    "start_bulk_job",
    "store_model_files",
    "sweep",
    "sync_model_files",
    "tag_asset",
    "time_limits",
    "undo_bulk_job",
    "undo_merge",
]
