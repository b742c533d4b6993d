"""Benchmarks, run by hand and in CI; not part of the package."""
