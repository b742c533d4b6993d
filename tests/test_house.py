"""The code follows its rules, and the documents match the code."""

from __future__ import annotations

import os
import re
import tomllib
from configparser import ConfigParser
from dataclasses import fields
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands

from filestack_tags import signals
from filestack_tags.conf import DEFAULTS, RENAMED, Settings
from filestack_tags.error_codes import ErrorCode
from filestack_tags.metrics import CATALOGUE
from filestack_tags.models import BulkJob
from filestack_tags.operations.scheduled_tasks import SCHEDULED_TASKS
from filestack_tags.operations.sinks.gauges import GAUGES
from filestack_tags.templatetags.filestack_tags import register

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "filestack_tags"
LONGEST_MODULE = 450
"""Lines that are not empty."""
UNCLEAR_NAMES = {"utils", "helpers", "common", "mixins", "manager", "misc"}
SOURCES = sorted(
    path
    for folder in (PACKAGE, ROOT / "example_project")
    for path in folder.rglob("*.py")
    if "migrations" not in path.parts
)
DOCS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
MODELS = [*apps.get_app_config("filestack_tags").get_models()]


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


def distribution(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert found
    return found[0].lower()


def table_rows(document: str) -> dict[str, list[str]]:
    """Return the cells of every table row that starts with a `name`."""
    rows = {}
    for line in text(document).splitlines():
        if found := re.match(r"\| `([^`]+)` \| (.*) \|$", line):
            rows[found[1]] = [cell.strip() for cell in found[2].split(" | ")]
    return rows


def test_no_module_is_too_long_to_answer_one_question() -> None:
    lengths = {path: len(re.findall(r"\S.*", path.read_text("utf-8"))) for path in SOURCES}
    too_long = {
        str(path): length for path, length in lengths.items() if length > LONGEST_MODULE
    }
    assert not too_long


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [path for path in SOURCES if path.stem in UNCLEAR_NAMES]


def test_every_suppression_has_a_code_and_a_reason() -> None:
    allowed = re.compile(r"#\s*(noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\])\s+(#\s*|- )?\w+")
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"#\s*(noqa|type:\s*ignore)", line) and not allowed.search(line)
    ]
    assert not bare


def test_nothing_is_left_to_do_in_the_code() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert not [path for path in SOURCES if unfinished.search(path.read_text("utf-8"))]


def test_every_index_and_constraint_has_a_name_of_ours() -> None:
    named = [
        item.name
        for model in MODELS
        for item in (*model._meta.indexes, *model._meta.constraints)
    ]
    assert named
    assert all(name.startswith("fst_") for name in named)


def test_the_package_listens_to_none_of_its_signals() -> None:
    ours = [name for name in vars(signals) if name.startswith(("asset_", "tag"))]
    assert len(ours) == 4
    receivers = [
        path
        for path in PACKAGE.rglob("*.py")
        for name in ours
        if re.search(rf"{name}\.connect|receiver\({name}", path.read_text("utf-8"))
    ]
    assert not receivers


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {
        name: cells for name, cells in table_rows("docs/settings.md").items() if "." not in name
    }
    assert rows.keys() == {item.name for item in fields(Settings)}
    for name, cells in rows.items():
        default = getattr(DEFAULTS, name)
        written = repr(default).replace("'", '"')
        assert cells[0] == f"`{written}`", name


def test_every_duration_and_size_has_a_unit() -> None:
    rows = table_rows("docs/settings.md")
    without = [
        item.name
        for item in fields(Settings)
        if type(getattr(DEFAULTS, item.name)) in (int, float)
        and item.name != "TAGS_VERSION"
        and not rows[item.name][1]
    ]
    assert not without


def test_every_system_check_is_documented_with_its_fix() -> None:
    modules = ("checks", "operations/setting_values")
    sources = (
        *(text(f"filestack_tags/{name}.py") for name in modules),
        text("filestack_tags/fields.py"),
    )
    found = re.findall(r"\b([EW]0\d\d)\"", "".join(sources))
    known = {f"filestack_tags.{number}" for number in found}
    documented = {
        name: cells
        for name, cells in table_rows("docs/settings.md").items()
        if name.startswith("filestack_tags.")
    }
    assert known == documented.keys()
    assert all(cells[1] for cells in documented.values())


def test_every_error_code_is_documented_with_its_texts() -> None:
    section = text("docs/observability.md").split("## Error codes")[1].split("\n## ")[0]
    rows = [line.replace("`", "") for line in section.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| {code} | {code.english_meaning} | {code.english_fix} |" for code in ErrorCode
    ]


def test_every_event_is_documented_with_its_labels() -> None:
    rows = table_rows("docs/observability.md")
    assert CATALOGUE.keys() == {name for name in rows if rows[name][0] in ("count", "duration")}
    for event in CATALOGUE.values():
        kind, labels, says = rows[event.name]
        assert kind == {"counter": "count"}.get(event.kind, event.kind), event.name
        assert re.findall(r"`(\w+)`", labels) == [*event.labels], event.name
        assert says == event.description + (" **Trouble.**" if event.is_trouble else ""), (
            event.name
        )


def test_every_label_is_documented_with_all_its_values() -> None:
    rows = table_rows("docs/observability.md")
    for event in CATALOGUE.values():
        for label, values in event.labels.items():
            written = set(re.findall(r"`([\w.]+)`", rows[label][0]))
            if "code" in {label, *written}:
                written = written - {"code"} | set(ErrorCode)
            assert written == values, f"{event.name}: {label}"


def test_every_gauge_is_documented() -> None:
    rows = table_rows("docs/observability.md")
    for gauge in GAUGES.values():
        unit, labels, says = rows[gauge.name]
        assert (unit, says) == (gauge.unit, gauge.description), gauge.name
        assert re.findall(r"`(\w+)`", labels) == [*gauge.labels], gauge.name


def test_every_dependency_has_its_reason() -> None:
    data = project()
    required = {distribution(item) for item in data["project"]["dependencies"]}
    groups = [
        *data["project"]["optional-dependencies"].values(),
        *data["dependency-groups"].values(),
    ]
    required |= {
        distribution(item) for group in groups for item in group if isinstance(item, str)
    }
    section = text("CONTRIBUTING.md").partition("## Dependencies")[2]
    given = {
        name.strip().lower()
        for line in re.findall(
            r"^\| (?:\*[a-z0-9]+:\* )?([^|]+) \| [^|]+ \|$", section, re.MULTILINE
        )
        for name in line.split(",")
    }
    assert given - {"package", "---"} == required


def test_the_changelog_knows_the_version() -> None:
    version = project()["project"]["version"]
    assert re.search(rf"^## \[?{re.escape(version)}\b", text("CHANGELOG.md"), re.MULTILINE)
    assert "## [Unreleased]" in text("CHANGELOG.md")


def former_names(heading: str) -> list[list[str]]:
    """Return the cells of a table about a development version, without backquotes."""
    section = text("docs/guides/upgrading.md").split(f"### {heading}\n")[1].split("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in rows]


def is_module(name: str) -> bool:
    try:
        spec = find_spec(f"filestack_tags.{name}")
    except ModuleNotFoundError:
        return False
    return spec is not None and spec.submodule_search_locations is None


def keywords_of(name: str) -> dict[str, bool] | None:
    """Return whether ``path(keyword, …)`` has each keyword, or None if the path does not exist."""
    path, _, keywords = name.rstrip(")").partition("(")
    try:
        value = resolve_name(f"filestack_tags.{path}")
    except (ImportError, AttributeError):
        return None
    known = signature(value).parameters if keywords else {}
    return {keyword: keyword in known for keyword in keywords.split(", ") if keyword}


def test_former_modules_are_gone_and_their_successors_exist() -> None:
    for former, new in former_names("Modules"):
        assert not is_module(former), former
        assert find_spec(f"filestack_tags.{new}"), new


def test_former_names_are_gone_and_their_successors_exist() -> None:
    for former, new in former_names("Functions, classes and fields"):
        keywords = keywords_of(former)
        assert keywords is None or (keywords and not any(keywords.values())), former
        keywords = keywords_of(new)
        assert keywords is not None, new
        assert all(keywords.values()), new


def test_every_former_setting_is_documented() -> None:
    assert dict(former_names("Settings")) == RENAMED


def test_other_former_names_are_gone_and_their_successors_exist() -> None:
    schema = text("docs/openapi.yaml")
    names = {
        "command": {*get_commands()},
        "template tag": {*register.tags},
        "heartbeat": {task.name for task in SCHEDULED_TASKS},
        "event": {*CATALOGUE},
        "value of the label job": CATALOGUE["bulk.requested"].labels["job"],
        "value of the label result": CATALOGUE["model_files.closed"].labels["result"],
        "permission": {
            f"{action}_{model._meta.model_name}"
            for model in MODELS
            for action in model._meta.default_permissions
        },
        "action of a bulk job": {*BulkJob.Action.values},
        "member in the REST API": {*re.findall(r"^ {8}(\w+):$", schema, re.MULTILINE)},
        "schema in the REST API": {*re.findall(r"^ {4}(\w+):$", schema, re.MULTILINE)},
    }
    for what, former, new in former_names("Other names"):
        assert former not in names[what], former
        assert new in names[what], new


def test_make_without_a_target_names_every_target() -> None:
    makefile = text("Makefile")
    found = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert found
    helped = set(re.findall(r'@echo "make ([a-z0-9-]+)', makefile))
    assert helped == set(found[1].split()) - {"help"}
    assert makefile.index("\nhelp:") < makefile.index("\ndemo:")


def test_tox_runs_every_django_that_is_claimed() -> None:
    classifiers = project()["project"]["classifiers"]
    claimed = {
        item.rpartition(" ")[2]
        for item in classifiers
        if re.match(r"Framework :: Django :: \d", item)
    }
    tox = ConfigParser()
    tox.read_string(text("tox.ini"))
    run = set(re.findall(r"^py\d+-django(\d)(\d)$", tox["tox"]["env_list"], re.MULTILINE))
    assert {".".join(digits) for digits in run} == claimed
    for version in claimed:
        assert f"| Django {version} |" in text("README.md")


@pytest.mark.parametrize(
    "document",
    ["README.md", "CONTRIBUTING.md", *DOCS],
)
def test_every_link_between_documents_leads_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text(document))
    assert not [link for link in links if not (folder / link).exists()]


@pytest.mark.skipif(os.name != "posix", reason="only there do files know that they can be run")
@pytest.mark.parametrize("name", [".ci/run"])
def test_what_is_run_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
