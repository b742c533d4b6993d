"""Models: files, their tags, and the history of both.

Models only declare. The services :mod:`filestack_tags.assets.registry`,
:mod:`~filestack_tags.tagging.queue`,
:mod:`~filestack_tags.webhooks.processing` and :mod:`~filestack_tags.curation` write; queries
are on the QuerySets and in :mod:`filestack_tags.search`.
"""

from .assets import Asset, AssetQuerySet
from .decisions import TagDecision
from .files import ModelFile
from .jobs import OPEN_STATES, BulkJob, BulkJobItem, BulkJobPart
from .ledger import TOO_LARGE, TaggingRun, WebhookDelivery
from .merges import AT_WORK, TagMerge, TagMergeRow
from .operations import Backfill, Circuit, Heartbeat, Spending
from .outbound import OutboundMessage, WebhookEndpoint
from .searches import SavedSearch
from .tags import NOT_FOUND, AssetTag, Tag, TagAlias, TagStatistic, score_in_sql, score_of

__all__ = [
    "AT_WORK",
    "NOT_FOUND",
    "OPEN_STATES",
    "TOO_LARGE",
    "Asset",
    "AssetQuerySet",
    "AssetTag",
    "Backfill",
    "BulkJob",
    "BulkJobItem",
    "BulkJobPart",
    "Circuit",
    "Heartbeat",
    "ModelFile",
    "OutboundMessage",
    "SavedSearch",
    "Spending",
    "Tag",
    "TagAlias",
    "TagDecision",
    "TagMerge",
    "TagMergeRow",
    "TagStatistic",
    "TaggingRun",
    "WebhookDelivery",
    "WebhookEndpoint",
    "score_in_sql",
    "score_of",
]
