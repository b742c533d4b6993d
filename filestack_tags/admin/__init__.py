"""The admin: one folder per subject. Pages only read; buttons call tasks and services."""

# ruff: noqa: F401  # importing a page registers it
# "from .tags import tags" would bind the page over its folder of the same name.
import filestack_tags.admin.bulk.jobs
import filestack_tags.admin.library.assets
import filestack_tags.admin.library.saved_searches
import filestack_tags.admin.operations.operations
import filestack_tags.admin.records.deliveries
import filestack_tags.admin.records.model_files
import filestack_tags.admin.records.outbound
import filestack_tags.admin.records.runs
import filestack_tags.admin.review.decisions
import filestack_tags.admin.tags.merges
import filestack_tags.admin.tags.tags
