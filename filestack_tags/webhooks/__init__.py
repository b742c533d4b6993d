"""Filestack's webhooks: store them, lease them, apply what they report."""
