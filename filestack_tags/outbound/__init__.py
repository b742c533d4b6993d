"""Outbound webhooks: endpoints, the outbox, delivery over safe HTTP."""
