"""The search language: grammar, tree, fields and errors. No Django."""
