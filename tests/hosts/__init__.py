"""Projects that are set up differently from the test suite's own, each in a process of its own."""
