"""Tags: names, thresholds, merges."""
