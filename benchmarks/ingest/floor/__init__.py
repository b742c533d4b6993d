"""The minimum cost of accepting a webhook: verify its signature, insert one row."""
