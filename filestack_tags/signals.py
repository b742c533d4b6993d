"""Signals for host projects. This package sends them and never listens to its own.

They are sent after the transaction has committed, by the process that did the work. Make
receivers idempotent: after a crash between the commit and the signal, none is sent.
"""

from django.dispatch import Signal

asset_registered = Signal()
"""A file was registered. Provides ``asset``. The sender is :class:`~.models.Asset`."""

asset_tagged = Signal()
"""A result for the asset's present content was recorded. Provides ``asset`` and ``run``.

``run.state`` is ``succeeded`` if its tags were applied, or if it is a workflow job that ended
without tags. With rules in ``RULES`` the signal is also sent for a result that is older than the
one shown (``superseded``), and for a job that failed after some of its tasks (``failed``).
"""

tagging_failed = Signal()
"""A tagging run ended without tags and no retry is planned. Provides ``asset`` and ``run``."""

tag_decided = Signal()
"""A user decided. Provides ``asset_tag`` and ``decision`` (``""`` when withdrawn)."""
