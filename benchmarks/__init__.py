"""Measurements, run by hand and in CI; no part of the package."""
