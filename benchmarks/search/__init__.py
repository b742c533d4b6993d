"""How fast searches are, compared with the best SQL for each and with other designs."""
