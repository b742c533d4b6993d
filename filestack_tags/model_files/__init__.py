"""Files of the host's own models."""
