"""Operating the app: status, on-call report, health, retention, heartbeats, metrics sinks."""
