"""How much memory a backfill takes, depending on the number of assets."""
