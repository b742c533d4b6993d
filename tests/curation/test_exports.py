"""An export is safe in every spreadsheet, and its cells are unambiguous."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from filestack_tags.curation import bulk
from filestack_tags.curation.bulk.exports import safe_cell, tags_cell
from filestack_tags.db.text import label_name
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.models import BulkJob
from tests.api.rows import person, tagged

TEXTS = st.text(st.sampled_from("=+-@;,\t\r\n|\"' ax1＝＠\\"), max_size=12) | st.text(
    max_size=12
)
FORMULAS = tuple("=+-@＝＋－＠")


def cells(text: str, delimiter: str) -> list[str]:
    """Return the cells that a spreadsheet makes of a line, with quotes and without them."""
    rows = [*csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]
    return [cell for row in rows for cell in row] + re.split(f"[{delimiter}\r\n]", text)


@given(TEXTS)
@example("x;=1+2;.jpg")
@example('x;"=1+2"')
@example("x\t =1")
def test_no_cell_begins_a_formula(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([safe_cell(text), 1])
    for delimiter in ",;\t":
        for cell in cells(out.getvalue(), delimiter):
            assert not cell.lstrip(' "').startswith(FORMULAS), (delimiter, cell)


names = st.text(
    st.sampled_from("=+-@;,|\"' ax1é＝\\") | st.characters(exclude_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=12,
).filter(lambda text: bool(text.strip(' "')))


@given(st.lists(st.tuples(names, st.integers(0, 100)), max_size=4))
@example([("a; b 1", 2)])
@example([("x;=1", 9), ("=2", 1)])
def test_the_cell_of_tags_is_read_in_one_way(tags: list[tuple[str, int]]) -> None:
    tags = [(name, confidence) for name, confidence in tags if _is_label(name)]
    cell = tags_cell(tags)
    read = []
    for item in cell.split("; ") if cell else []:
        name, _, confidence = item.rpartition(" ")
        read.append((json.loads(name) if name.startswith('"') else name, int(confidence)))
    assert read == tags
    assert safe_cell(cell) == cell  # a spreadsheet does not interpret it as a formula


def _is_label(name: str) -> bool:
    try:
        label_name(name)
    except InvalidLabel:  # such as one without a visible character
        return False
    return not any(char.isspace() and char != " " for char in name)


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["csv", "csv-bom"])
def test_a_byte_order_mark_is_there_by_choice(form: str) -> None:
    tagged("h1", {"sky": 90, "a;b": 80}, filename="x;=1+2;.jpg")
    client = APIClient()
    client.force_login(person("viewer", "view_asset"))
    reply = client.post("/api/v1/jobs/", {"action": "export", "format": form}, format="json")
    bulk.step(BulkJob.objects.get().pk)
    file = client.get(f"{reply['Location']}download/")
    body = b"".join(file.streaming_content).decode()
    assert body.startswith("\ufeffid," if form == "csv-bom" else "id,")
    (row,) = csv.DictReader(io.StringIO(body.removeprefix("\ufeff")))
    assert (row["filename"], row["tags"]) == ("x;'=1+2;.jpg", 'sky 90; "a\\u003bb" 80')
    assert file["Content-Disposition"].endswith('.csv"')
    assert file["Cache-Control"] == "private, no-store"
    assert {"Cookie", "Authorization"} <= {*re.split(", ", file["Vary"])}


@pytest.mark.django_db
def test_the_admin_offers_an_export_to_users_who_may_only_view(client: Any) -> None:
    tagged("h1", {"sky": 90})
    client.force_login(person("viewer", "view_asset", is_staff=True))
    page = client.get("/admin/filestack_tags/asset/").content.decode()
    assert '<option value="in_bulk">' in page
    asked = client.post(
        "/admin/filestack_tags/bulkjob/ask/",
        {"action": "export", "format": "csv", "query": "", "confirmed": "1"},
        follow=True,
    )
    bulk.step(BulkJob.objects.get().pk)
    job = client.get(asked.redirect_chain[-1][0]).content.decode()
    assert "download/" in job
    file = client.get(f"/admin/filestack_tags/bulkjob/{BulkJob.objects.get().pk}/download/")
    assert file["Cache-Control"].startswith("private, no-store")
