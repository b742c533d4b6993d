"""Recorded payloads with modified parts, and the values that replace them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

PAYLOADS = Path(__file__).parent.parent / "payloads"
WEBHOOKS = sorted(path.name for path in PAYLOADS.glob("webhook_f*.json"))
ANSWERS = ("tags_sync_v2", "tags_sync_user_dict", "metadata", "run_workflow_response",
           "workflow_status_finished", "store_response", "process_response")  # fmt: skip

hostile = st.sampled_from(
    [
        *(None, True, False, 0, -1, 0.5, 100, 101, 2**31, 2**63, -(2**63), 10**30, 1e308, -0.0),
        *("", " ", "\x00", "\ud800", "é" * 300, "x" * 1100, "‮", "null", "NaN", "1710000000"),
        *("9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00+23:59", "2019-02-30T00:00:00Z"),
        *("Finished", "Started", "Failed", "Stored", "InTransit", "fs.workflow", "fp.delete"),
        *("https://cdn.filestackcontent.com/", "http://[", "https://a@b/c", "https://é/x?y#z"),
        *("src://a/b", "src://a/../b", "wf://a/b/c", "VJQTvCboRVivWJ2BpKgd", "../../etc/passwd"),
        *({}, [], [[]], {"": ""}, {"auto": {}}, {"auto": {"": 1}}, {"auto": {"sky": 50}}),
        *({"auto": {"sky": 10, "SKY": 20}, "user": "me"}, {"auto": {"a\x00b": 1}, "user": []}),
        *({"data": {"tags": {"auto": {"x" * 201: 1}}}}, {"error": {"code": 1}}, {"data": None}),
    ]
).map(copy.deepcopy)  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
values = hostile | st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)


MOMENTS = st.sampled_from(
    ["9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59",
     "9999-12-31T23:59:59-23:59", "2019-03-11T13:49:54Z", "2019-02-30T00:00:00Z", "soon"]
)  # fmt: skip
FITTING = {
    "createdAt": MOMENTS,
    "updatedAt": MOMENTS,
    "timestamp": st.sampled_from([0, 1, 2**31, 253402300799, 10**12, -1, 1e300, "1710000010"]),
    "status": st.sampled_from(["Started", "pending", "Finished", "failed", "Error", "Stored", ""]),
    "sources": st.lists(st.sampled_from(
        ["VJQTvCboRVivWJ2BpKgd", "https://example.com/a b?c#d", "src://a/b", "wf://a/b/c", "", 1]
    ), max_size=3).map(list[Any]),
    "workflow": st.sampled_from(["wf-1", "687r07d2", "x" * 101, "", "a/b", "."]),
    "jobid": st.sampled_from(["job-1", "job-2", "delivery:1", "x" * 100, ""]),
    "auto": st.dictionaries(st.text(max_size=6), st.integers(-1, 101) | st.floats(0, 100)),
    "size": st.sampled_from([0, 2**63 - 1, 2**63, -1, 1.0, 1e300, "1"]),
}  # fmt: skip
"""Values for a key that are likely to be processed further than others."""


def recorded(name: str) -> Any:
    return json.loads((PAYLOADS / name).read_bytes())


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys = node if isinstance(node, dict) else range(len(node) if isinstance(node, list) else 0)
    for key in list(keys):
        yield node, key
        yield from _places(node[key])


@st.composite
def changed(draw: st.DrawFn, payload: Any) -> Any:
    """A payload with up to five parts replaced, removed, renamed, doubled or wrapped."""
    whole = {"payload": copy.deepcopy(payload)}
    for _ in range(draw(st.integers(0, 5))):
        places = list(_places(whole))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(
            st.sampled_from(["replace", "replace", "remove", "rename", "wrap", "add"])
        )
        inner = isinstance(holder, dict) and holder is not whole
        if change == "remove" and inner:
            del holder[key]
        elif change == "rename" and inner:
            holder[draw(st.sampled_from(KEYS) | st.text(max_size=8))] = holder.pop(key)
        elif change == "wrap":
            holder[key] = draw(st.sampled_from([[holder[key]] * 2, {"data": holder[key]}]))
        elif change == "add" and inner:
            added = draw(st.sampled_from(KEYS) | st.text(max_size=8))
            holder[added] = draw(FITTING.get(added, values) | values)
        else:
            holder[key] = draw(FITTING.get(key, values) | values)
    return whole["payload"]


KEYS = [
    *("id", "action", "timestamp", "text", "url", "handle", "link", "data", "size", "status"),
    *("workflow", "jobid", "job", "sources", "results", "createdAt", "updatedAt", "error"),
    *("tags", "auto", "user", "upload_tags", "filename", "mimetype", "type", "key"),
]

webhooks = st.sampled_from(WEBHOOKS).flatmap(lambda name: changed(recorded(name)))
"""An event, mostly well-formed."""


def written(payload: Any) -> bytes:
    return json.dumps(payload).encode()


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """The bytes of an event, with some of them changed, truncated or repeated."""
    body = bytearray(written(draw(webhooks)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 6)))
        body[start:end] = draw(st.binary(max_size=6)) * draw(st.sampled_from([0, 1, 2]))
    return bytes(body)


bodies = webhooks.map(written) | torn() | values.map(written) | st.binary(max_size=200)
