"""Write events to the log ``filestack_tags.event``."""

from __future__ import annotations

import logging

from filestack_tags.metrics import Measurement

logger = logging.getLogger("filestack_tags.event")


class LoggingSink:
    """Writes one line for each event: a warning for trouble, otherwise level INFO.

    The record also has ``event``, ``value`` and ``labels``, for formatters that write JSON.
    """

    def record(self, measurement: Measurement) -> None:
        """Write the line."""
        event = measurement.event
        level = logging.WARNING if event.is_trouble else logging.INFO
        if not logger.isEnabledFor(level):
            return
        labels = "".join(f" {name}={word}" for name, word in sorted(measurement.labels.items()))
        # Otherwise every count would end in 1.
        value = f" {measurement.value:.3f}" if event.kind == "duration" else ""
        if event.kind == "counter" and measurement.value != 1:
            value = f" {measurement.value}"
        logger.log(
            level,
            "%s%s%s",
            event.name,
            value,
            labels,
            extra={
                "event": event.name,
                "value": measurement.value,
                "labels": dict(measurement.labels),
            },
        )

    def close(self) -> None:
        """Do nothing: the log belongs to the host."""
