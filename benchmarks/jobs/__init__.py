"""Assets that bulk jobs and merges change a second; see docs/benchmarks.md."""
