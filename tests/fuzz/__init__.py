"""Hostile input: signed garbage, modified payloads, rules, searches."""
