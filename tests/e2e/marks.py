"""Marks that control how a test is run."""

from __future__ import annotations

import pytest

from .browser import LOOKS, Look

every_look = pytest.mark.parametrize("look", LOOKS, ids=str)
"""At 1440 and 400 px, light and dark."""

both_widths = pytest.mark.parametrize("look", [Look(1440), Look(400)], ids=str)
"""At 1440 and 400 px; ``screen`` checks each page in both schemes."""

narrow = pytest.mark.parametrize("look", [Look(400)], ids=str)
