"""What a test says of how it is run."""

from __future__ import annotations

import pytest

from .browser import LOOKS, Look

every_look = pytest.mark.parametrize("look", LOOKS, ids=str)
"""At 1440 and 400 px, light and dark."""

narrow = pytest.mark.parametrize("look", [Look(400)], ids=str)
