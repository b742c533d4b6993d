"""How many webhooks a second are stored and applied, compared with the minimum cost of storing."""
