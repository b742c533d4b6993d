"""The least that accepting a webhook can cost: verify its signature, insert one row."""
