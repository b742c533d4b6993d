"""What the tests of searches share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from filestack_tags.search import complete


@pytest.fixture(autouse=True)
def _names_are_read_again() -> Iterator[None]:
    """Forget the names of tags that another test had."""
    complete.forget()
    yield
    complete.forget()
