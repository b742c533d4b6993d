"""The REST API. Mount it with ``path("api/", include("filestack_tags.api.urls"))``."""
