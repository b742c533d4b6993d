"""Review: accept, reject and undo tags."""
