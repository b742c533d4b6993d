"""The OpenAPI schema of the API, with drf-spectacular; loaded only if the host has installed it.

Everything is read from the views, except the shapes of the responses, which are plain dicts:
:data:`.operations.OPERATIONS` lists them, by view and action.
"""

from .views import DescribedView, Schema

__all__ = ["DescribedView", "Schema"]
