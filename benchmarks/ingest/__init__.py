"""How many webhooks a second are stored and applied, against the least that storing can cost."""
