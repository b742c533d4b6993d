"""Assets: register files, their tags and counts, visibility, upload policies, thumbnails."""
