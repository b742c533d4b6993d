"""Every URL of the test project, as patterns of its URL configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver


def patterns(
    nodes: list[Any] | None = None, prefix: str = "/"
) -> Iterator[tuple[str, URLPattern]]:
    """Yield every pattern with its whole path, as it is written."""
    for node in get_resolver().url_patterns if nodes is None else nodes:
        path = prefix + str(node.pattern)
        if isinstance(node, URLResolver):
            yield from patterns(node.url_patterns, path)
        else:
            yield path, node


def ours() -> Iterator[str]:
    """Yield the paths of the app's admin and API, with ``<name>`` where a value belongs."""
    for path, _pattern in patterns():
        if not path.startswith("/api/") and "filestack_tags" not in path:
            continue
        plain = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"<\1>", path)
        plain = plain.replace("^", "").replace("$", "").replace("\\Z", "").replace("\\.", ".")
        yield plain.replace("/?", "/")
