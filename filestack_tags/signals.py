"""Signals for host projects. This package sends them and never listens to its own.

They are sent after the transaction has committed, by the process that did the work. Make
receivers idempotent: after a crash between the commit and the signal, none is sent.
"""

from django.dispatch import Signal

asset_registered = Signal()
"""A file became known. Provides ``asset``. Sender: :class:`~filestack_tags.models.Asset`."""

asset_tagged = Signal()
"""New tags were applied. Provides ``asset`` and ``run``."""

tagging_failed = Signal()
"""A tagging run ended without tags and no retry is planned. Provides ``asset`` and ``run``."""

tag_decided = Signal()
"""A person decided. Provides ``asset_tag`` and ``decision`` (``""`` when withdrawn)."""
