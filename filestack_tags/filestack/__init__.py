"""A provider library for Filestack: sources, security, payloads, and a client for each call.

It has no models, no Celery and no Django REST framework; only :mod:`.client` uses HTTP.
"""

from .client import AsyncFilestackClient, FilestackClient
from .payloads import (
    Event,
    FileEvent,
    FileMetadata,
    StoredFile,
    TagsReply,
    TaskTags,
    WorkflowJob,
    event_key,
    parse_event,
    parse_file,
    parse_job,
    parse_metadata,
    parse_tags_reply,
    parse_timestamp,
)
from .security import Security, SignedPolicy
from .sources import Source, handle_from_url
from .webhook_signatures import sign_webhook, verify_webhook
from .workflow_logic import Rule, parse_rule

__all__ = [
    "AsyncFilestackClient",
    "Event",
    "FileEvent",
    "FileMetadata",
    "FilestackClient",
    "Rule",
    "Security",
    "SignedPolicy",
    "Source",
    "StoredFile",
    "TagsReply",
    "TaskTags",
    "WorkflowJob",
    "event_key",
    "handle_from_url",
    "parse_event",
    "parse_file",
    "parse_job",
    "parse_metadata",
    "parse_rule",
    "parse_tags_reply",
    "parse_timestamp",
    "sign_webhook",
    "verify_webhook",
]
