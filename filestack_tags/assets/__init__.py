"""Assets: registering files, their tags and counts, who sees them, upload policies, thumbnails."""
