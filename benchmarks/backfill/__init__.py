"""How much memory a backfill takes, however many assets there are."""
