from __future__ import annotations

from typing import Any

import pytest

from tests import scripted


@pytest.fixture
def paid(script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Script the replies of a tagger whose calls cost money."""
    monkeypatch.setattr(scripted.ScriptedTagger, "paid", True, raising=False)
    return script
