"""The OpenAPI schema of the API, by drf-spectacular; loaded only where the host has installed it.

Everything is read from the views, but for the shapes of what they answer, which are plain dicts
there: :data:`.operations.OPERATIONS` has them, by view and action.
"""

from .views import DescribedView, Schema

__all__ = ["DescribedView", "Schema"]
