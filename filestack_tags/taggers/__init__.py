"""What turns an asset into tags. Importing this needs none of the optional packages."""

from .base import JobTagger, PendingJob, Tagger, TaggerReply, TagScore, get_tagger

__all__ = ["JobTagger", "PendingJob", "TagScore", "Tagger", "TaggerReply", "get_tagger"]
