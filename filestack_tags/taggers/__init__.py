"""What turns an asset into tags. Importing this needs none of the optional packages."""

from .base import (
    BUILT_IN,
    AsyncJobTagger,
    AsyncTagger,
    JobTagger,
    PendingJob,
    Tagger,
    TaggerReply,
    TagScore,
    get_tagger,
    is_paid,
)

__all__ = [
    "BUILT_IN",
    "AsyncJobTagger",
    "AsyncTagger",
    "JobTagger",
    "PendingJob",
    "TagScore",
    "Tagger",
    "TaggerReply",
    "get_tagger",
    "is_paid",
]
