"""Projects with other setups than the test suite's, each in a separate process."""
