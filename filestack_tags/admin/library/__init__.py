"""The library: find, open, upload and save searches for assets."""
