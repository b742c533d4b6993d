"""Taggers: they get the tags of an asset. Importing this needs none of the optional packages."""

from .base import (
    BUILT_IN,
    JobTagger,
    PendingJob,
    Tagger,
    TaggerReply,
    TagScore,
    check_tagger_name,
    get_tagger,
    is_paid,
    tagger_names,
)

__all__ = [
    "BUILT_IN",
    "JobTagger",
    "PendingJob",
    "TagScore",
    "Tagger",
    "TaggerReply",
    "check_tagger_name",
    "get_tagger",
    "is_paid",
    "tagger_names",
]
