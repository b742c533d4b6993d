"""Filestack's JSON, read into frozen dataclasses with the raw text kept beside. No Django.

Extra keys are ignored; what carries meaning (tags, confidences, handles, job ids) is checked
strictly. Whatever arrives, nothing but :class:`~filestack_tags.exceptions.PayloadError` is
raised.
"""

from .events import Event, event_key, parse_event
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
