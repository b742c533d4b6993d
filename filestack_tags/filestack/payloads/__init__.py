"""Filestack's JSON, parsed into frozen dataclasses that keep the raw text. No Django.

Extra keys are ignored; the essential parts (tags, confidences, handles, job ids) are checked
strictly. Whatever the input, the only exception is
:class:`~filestack_tags.exceptions.PayloadError`.
"""

from .event_keys import event_key
from .events import Event, parse_event
from .files import FileEvent, FileMetadata, StoredFile, parse_file, parse_metadata
from .tags import TagsReply, parse_tags_reply
from .timestamps import parse_timestamp
from .workflows import TaskTags, WorkflowJob, parse_job

__all__ = [
    "Event",
    "FileEvent",
    "FileMetadata",
    "StoredFile",
    "TagsReply",
    "TaskTags",
    "WorkflowJob",
    "event_key",
    "parse_event",
    "parse_file",
    "parse_job",
    "parse_metadata",
    "parse_tags_reply",
    "parse_timestamp",
]
