"""Models: files, their tags, and the history of both.

Models only declare. The services :mod:`filestack_tags.assets.registry`,
:mod:`~filestack_tags.tagging.queue`,
:mod:`~filestack_tags.webhooks.processing` and :mod:`~filestack_tags.curation` write; queries
are on the QuerySets and in :mod:`filestack_tags.search`.
"""

from .assets import Asset, AssetQuerySet
from .bulk_jobs import BulkJob, BulkJobItem, BulkJobPart
from .decisions import TagDecision
from .deliveries import WebhookDelivery
from .leases import Leased, LeaseLost
from .model_files import ModelFile
from .operations import Backfill, Circuit, DailyUsage, Heartbeat
from .outbound import OutboundEndpoint, OutboundMessage
from .runs import TaggingRun
from .saved_searches import SavedSearch
from .tag_merges import TagMerge, TagMergeRow
from .tags import NOT_FOUND, AssetTag, Tag, TagAlias, TagStatistic, score_in_sql, score_of

__all__ = [
    "NOT_FOUND",
    "Asset",
    "AssetQuerySet",
    "AssetTag",
    "Backfill",
    "BulkJob",
    "BulkJobItem",
    "BulkJobPart",
    "Circuit",
    "DailyUsage",
    "Heartbeat",
    "LeaseLost",
    "Leased",
    "ModelFile",
    "OutboundEndpoint",
    "OutboundMessage",
    "SavedSearch",
    "Tag",
    "TagAlias",
    "TagDecision",
    "TagMerge",
    "TagMergeRow",
    "TagStatistic",
    "TaggingRun",
    "WebhookDelivery",
    "score_in_sql",
    "score_of",
]
