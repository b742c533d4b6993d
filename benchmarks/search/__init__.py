"""How fast searches are, against the best SQL for each and against other designs."""
