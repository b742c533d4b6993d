"""The directive ``{commands}``: every management command with its options, read from the code.

Also has links to documents outside ``docs/``, which readers of the repository follow, lead to the
pages that include them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, ClassVar

from django.core.management import get_commands, load_command_class
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

APP = "filestack_tags"

OUTSIDE = {
    "../README.md": "index.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
    "../benchmarks/results/": "results/",
}

OF_DJANGO = frozenset(
    [
        "--help",
        "--version",
        "--verbosity",
        "--settings",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
        "--skip-checks",
    ]
)


class Commands(SphinxDirective):
    """Writes a section for each command of the app: what it does, how to call it, its options."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        names = sorted(name for name, app in get_commands().items() if app == APP)
        return [node for name in names for node in self._section(name)]

    def _section(self, name: str) -> Iterator[nodes.Node]:
        parser = load_command_class(APP, name).create_parser("manage.py", name)
        section = nodes.section(ids=[nodes.make_id(name)])
        section += nodes.title(text=name)
        section += nodes.paragraph(text=parser.description)
        usage = argparse.HelpFormatter(f"manage.py {name}", width=88)
        usage.add_usage(None, _own(parser), [], prefix="")
        section += nodes.literal_block(text=usage.format_help().strip(), language="text")
        if options := _own(parser):
            section += _definitions(options)
        yield section


def _own(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the command's own options, without those that Django gives to every command."""
    return [each for each in parser._actions if not OF_DJANGO & set(each.option_strings)]


def _definitions(options: list[argparse.Action]) -> nodes.definition_list:
    items = nodes.definition_list()
    for action in options:
        formatter = argparse.HelpFormatter("manage.py")
        term = nodes.term()
        term += nodes.literal(text=formatter._format_action_invocation(action))
        words = formatter._expand_help(action) if action.help else ""
        body = nodes.definition("", nodes.paragraph(text=words))
        items += nodes.definition_list_item("", term, body)
    return items


def lead_inside(app: Sphinx, name: str, source: list[str]) -> None:
    """Have links to documents outside ``docs/`` lead to the pages that include them."""
    up = "../" * name.count("/")
    for outside, inside in OUTSIDE.items():
        source[0] = source[0].replace(f"]({up}{outside}", f"]({up}{inside}")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("commands", Commands)
    app.connect("source-read", lead_inside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
