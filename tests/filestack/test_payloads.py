"""Filestack's JSON, parsed strictly where it matters and tolerantly elsewhere."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import InvalidLabel, PayloadError
from filestack_tags.filestack.payloads import (
    TagsReply,
    event_key,
    parse_event,
    parse_file,
    parse_job,
    parse_metadata,
    parse_tags_reply,
    parse_timestamp,
)
from filestack_tags.filestack.payloads.timestamps import parse_unix
from filestack_tags.filestack.sources import Source
from tests.payloads import FOLDER, decoded, payload

WEBHOOKS = sorted(path.name for path in FOLDER.glob("webhook_f*.json"))

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=10)
    | st.sampled_from(["Finished", "2019-03-11T13:49:54.2Z", "https://a.b/c", 10**400, 1e300])
)
words = st.sampled_from(
    [
        "tags",
        "auto",
        "user",
        "results",
        "data",
        "link",
        "url",
        "handle",
        "filename",
        "size",
        "type",
        "mimetype",
        "workflow",
        "jobid",
        "job",
        "status",
        "sources",
        "createdAt",
        "error",
        "id",
        "action",
        "timestamp",
        "text",
        "upload_tags",
        "workflows",
    ]
) | st.text(max_size=5)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6),
    max_leaves=20,
)


def tags(auto: object, user: object = None) -> bytes:
    return json.dumps({"tags": {"auto": auto, "user": user}}).encode()


class TestTags:
    def test_the_documented_reply_is_read(self):
        reply = parse_tags_reply(payload("tags_sync_v2.json"))
        assert reply.auto == decoded("tags_sync_v2.json")["tags"]["auto"]
        assert len(reply.auto) == 20
        assert reply.auto["trip (journey)"] == 81
        assert reply.user == {}
        assert json.loads(reply.raw) == decoded("tags_sync_v2.json")

    def test_the_reply_of_version_1_is_read_alike(self):
        reply = parse_tags_reply(payload("tags_sync_v1_php_readme_era.json").decode())
        assert reply.auto["accipitriformes"] == 58
        assert len(reply.auto) == 10

    def test_no_label_is_a_success(self):
        assert parse_tags_reply(decoded("tags_sync_empty.json")).auto == {}

    @pytest.mark.parametrize(
        ("user", "labels"),
        [
            (None, {}),
            ({}, {}),
            ({"mine": 40}, {"mine": 40}),
            ({"mine": None}, {"mine": 100}),
            (" a  tag ", {"a tag": 100}),
        ],
    )
    def test_user_labels_are_read_in_every_form(self, user, labels):
        assert parse_tags_reply(tags({}, user)).user == labels

    @pytest.mark.parametrize(
        ("score", "confidence"),
        [(0, 0), (100, 100), (97.5, 98), (97.49, 97), (0.5, 1), (99.9, 100)],
    )
    def test_a_confidence_is_rounded_half_up(self, score, confidence):
        assert parse_tags_reply(tags({"owl": score})).auto == {"owl": confidence}

    @pytest.mark.parametrize(
        ("score", "shown"),
        [
            (-1, "-1"),
            (101, "101"),
            (100.4, "100.4"),
            (True, "true"),
            (None, "null"),
            ("97", "'97'"),
            ([97], "a list"),
            ({}, "an object"),
            (10**400, "an integer beyond 64 bits"),
            ("x" * 500, "'xxxx"),
        ],
    )
    def test_a_wrong_confidence_is_left_out_and_named(self, score, shown):
        reply = parse_tags_reply(tags({"owl": 97, "cat": score}))
        assert reply.auto == {"owl": 97}
        (odd,) = reply.odd
        assert "'cat'" in odd
        assert shown in odd
        assert len(odd) < 200
        with pytest.raises(PayloadError, match="from 0 to 100"):
            parse_tags_reply(tags({"cat": score}))

    @pytest.mark.parametrize("label", ["", "  ", "a\x00b", "\ud800", "x" * 201])
    def test_a_label_that_is_no_tag_is_left_out_and_named(self, label):
        reply = parse_tags_reply(tags({"owl": 97, label: 5}))
        assert reply.auto == {"owl": 97}
        assert reply.odd[0].startswith("tags.auto holds")
        with pytest.raises(PayloadError, match=r"tags\.auto holds"):
            parse_tags_reply(tags({label: 5}))

    @pytest.mark.parametrize(
        "odd",
        [
            b'"cat": NaN',
            b'"cat": -Infinity',
            b'"cat": 1e999',
            b'"cat": ' + b"9" * 5000,
            b'"c\xff": 90',
            b'"c\\ud800": 90',
            b'"cat": ' + b'{"a":' * 70 + b"1" + b"}" * 70,
        ],
    )
    def test_what_json_readers_refuse_is_left_out_alone(self, odd):
        body = b'{"tags": {"auto": {"owl": 97, ' + odd + b'}, "user": null}}'
        reply = parse_tags_reply(body)
        assert reply.auto == {"owl": 97}
        assert len(reply.odd) == 1
        assert parse_tags_reply(reply.raw).auto == {"owl": 97}  # as stored

    @pytest.mark.parametrize("scores", [(90, 80), (80, 90), (90, '"x"'), ('"x"', 90)])
    def test_a_label_that_occurs_twice_keeps_the_higher_confidence(self, scores):
        body = '{{"tags": {{"auto": {{"owl": {}, "owl": {}}}}}}}'.format(*scores)
        assert parse_tags_reply(body).auto == {"owl": 90}

    def test_a_part_nobody_attests_discards_nothing(self):
        debug = '{"a":' * 70 + "NaN" + "}" * 70
        body = f'{{"debug": {debug}, "tags": {{"auto": {{"owl": 97}}, "user": [1]}}}}'
        reply = parse_tags_reply(body)
        assert reply.auto == {"owl": 97}
        assert reply.odd == ("tags.user must be null, an object or text, not a list.",)

    def test_labels_spelled_alike_keep_the_higher_confidence(self):
        reply = parse_tags_reply(tags({"Café": 50, "cafe\u0301": 70, "CAFÉ ": 60}))
        assert reply.auto == {"cafe\u0301": 70}

    @pytest.mark.parametrize(
        "body", [b"{}", b'{"tags":null}', b'{"tags":{"cat":98}}', b'{"tags":{"auto":[]}}']
    )
    def test_success_is_proved_by_an_auto_object(self, body):
        with pytest.raises(PayloadError, match=r"tags\.auto"):
            parse_tags_reply(body)

    def test_user_labels_of_another_type_are_left_out(self):
        reply = parse_tags_reply(tags({}, ["a"]))
        assert not (reply.auto)
        assert not (reply.user)
        assert reply.odd == ("tags.user must be null, an object or text, not a list.",)

    @given(
        st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["", "\x00", "\ud800", "x" * 201]),
            st.integers(-2, 102) | st.floats(0, 100) | json_values,
        ),
        json_values,
    )
    def test_every_usable_label_is_found_with_its_highest_confidence(self, auto, user):
        best: dict[str, int] = {}
        for label, score in auto.items():
            is_number = isinstance(score, (int, float)) and not isinstance(score, bool)
            try:
                key = label_key(label)
            except InvalidLabel:
                continue
            if is_number and 0 <= score <= 100 and "\ufffd" not in label:
                best[key] = max(math.floor(score + 0.5), best.get(key, 0))
        try:
            reply = parse_tags_reply(tags(auto, user))
        except PayloadError:
            assert not best
            return
        assert {label_key(label): score for label, score in reply.auto.items()} == best


class TestReading:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "not JSON"),
            (b'{"tags": {"auto": {"cat": 9', "at character"),
            (b"\xff{}", "byte 0 is not UTF-8"),
            (b"[]", "A JSON object was expected, not a list"),
            (b'{"a": NaN}', "not finite"),
            (b'{"a": -Infinity}', "not finite"),
            (b'{"a": 1e999}', "not finite"),
            (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
            (b'{"a": 1, "a": 2}', "repeats a key"),
            (b'{"a":' * 100_000, "64 levels"),
            (b'{"a":' * 70 + b"1" + b"}" * 70, "64 levels"),
            ({"a": object()}, "mapping"),
            ({"a": {1, 2}}, "mapping"),
        ],
    )
    def test_hostile_input_is_refused_with_a_reason(self, body, reason):
        with pytest.raises(PayloadError, match=reason):
            parse_tags_reply(body)

    @given(st.binary() | json_values.map(json.dumps).map(str.encode))
    def test_nothing_but_payload_error_is_raised(self, body):
        for parse in (
            parse_tags_reply,
            parse_job,
            parse_file,
            parse_metadata,
            lambda data: parse_event(data).file(),
            lambda data: parse_event(data).workflow(),
            lambda data: parse_event(data).workflow().merged_tags(),
        ):
            try:
                outcome = repr(parse(body))
            except PayloadError as error:
                outcome = str(error)
            assert outcome.encode()  # invalid text would fail here

    @given(st.dictionaries(words, json_values, max_size=8))
    def test_what_a_file_event_says_can_be_stored(self, text):
        body = json.dumps({"id": 1, "action": "fp.upload", "text": {**text, "handle": "abc"}})
        found = parse_event(body.encode()).file()
        json.dumps(found.upload_tags, ensure_ascii=False).encode()
        for value in (found.url, found.filename, found.mimetype, found.container, found.key):
            assert "\x00" not in value
            value.encode()
        assert found.size is None or 0 <= found.size < 2**63


class TestEvents:
    @pytest.mark.parametrize("name", WEBHOOKS)
    def test_every_payload_has_a_key_that_identifies_it(self, name):
        key, action = event_key(payload(name))
        event = parse_event(payload(name))
        assert (event.key, event.action) == (key, action)
        body = decoded(name)
        if "id" in body:
            assert key == f"{body['action']}:{body['id']}"
            assert event.id == str(body["id"])
            assert event.timestamp == datetime.fromtimestamp(body["timestamp"], UTC)
        else:
            assert key.startswith("sha256:")
        assert event.text == body["text"]
        assert json.loads(event.raw) == body

    @given(st.binary() | json_values.map(json.dumps).map(str.encode))
    @example(b'{"id": 1e999}')
    @example(b"[" * 100_000)
    def test_the_key_of_any_bytes_is_short_ascii_and_stable(self, body):
        key, action = event_key(body)
        assert (key, action) == event_key(body)
        assert 0 < len(key) <= 200
        assert len(action) <= 100
        assert (key + action).isascii()
        assert (key + action).isprintable()

    def test_two_deliveries_of_one_event_have_one_key(self):
        body = b'{"id":7,"action":"fp.upload","text":{}}'
        again = b'{ "action": "fp.upload", "id": 7, "text": {"new": 1} }'
        assert event_key(body) == event_key(again) == ("fp.upload:7", "fp.upload")

    def test_a_job_without_envelope_is_a_workflow_event(self):
        job = decoded("webhook_fs_workflow_virus_infected.json")["text"]
        body = json.dumps(job).encode()
        event = parse_event(body)
        assert event.key == f"sha256:{hashlib.sha256(body).hexdigest()}"
        assert (event.action, event.id, event.timestamp) == ("fs.workflow", "", None)
        assert event.workflow().job_id == job["jobid"]

    @pytest.mark.parametrize(
        "body",
        [
            {"workflow": "w", "results": {}, "status": "Finished"},
            {"workflow": "w", "results": {}, "jobid": "j"},
            {"action": "fp.upload"},
            {"action": "fp.upload", "id": True},
            {"action": "fp.upload", "id": "\n"},
            {"action": "fp.upload", "id": 10**40},
            {"action": "ü", "id": 1},
            {"id": 1},
            {"uuid": "u", "status": "completed", "timestamp": "1521735000"},
        ],
    )
    def test_what_names_no_event_is_known_by_its_bytes(self, body):
        key, _ = event_key(json.dumps(body).encode())
        assert key.startswith("sha256:")
        assert len(key) == 71

    @pytest.mark.parametrize(
        ("value", "year"),
        [(1521733983, 2018), ("1521734000", 2018), (1521733983.5, 2018)]
        + [(value, None) for value in (None, True, -1, 1e300, 10**30, "soon", [1], "1" * 13)],
    )
    def test_an_absurd_time_of_an_event_is_no_time(self, value, year):
        body = json.dumps({"id": 1, "action": "a", "timestamp": value}).encode()
        found = parse_event(body).timestamp
        assert (found and found.year) == year

    def test_not_a_number_is_no_time(self):
        assert parse_unix(math.nan) is None


class TestFileEvents:
    @pytest.mark.parametrize(
        ("name", "handle", "filename", "mimetype", "size"),
        [
            ("fp_upload", "VJQTvCboRVivWJ2BpKgd", "example.png", "image/png", 158584),
            (
                "fp_upload_2019_nested",
                "xK88QArxRiyVvFzo4p33",
                "01 (1).png",
                "image/png",
                881855,
            ),
            ("fp_upload_intransit", "VJQTvCboRVivWJ2BpKgd", "example.png", "image/png", 158584),
            ("fp_overwrite", "VJQTvCboRVivWJ2BpKgd", "example.png", "image/png", 436688),
            ("fp_converse", "HANDLE", "example.png", "image/png", 158584),
            ("fp_delete", "VJQTvCboRVivWJ2BpKgd", "", "", None),
            ("fp_scan_placeholder", "VJQTvCboRVivWJ2BpKgd", "", "", None),
        ],
    )
    def test_every_historical_shape_is_read(self, name, handle, filename, mimetype, size):
        found = parse_event(payload(f"webhook_{name}.json")).file()
        assert (found.handle, found.filename) == (handle, filename)
        assert (found.mimetype, found.size) == (mimetype, size)

    def test_where_a_file_is_stored_is_read(self):
        found = parse_event(payload("webhook_fp_upload.json")).file()
        assert found.container == "filestack-uploads-persist-production"
        assert found.key == "kWg9mVtRTauGxsPhCHcp_example.png"
        assert found.status == "Stored"
        assert found.url == "https://cdn.filestackcontent.com/VJQTvCboRVivWJ2BpKgd"

    def test_the_2015_url_of_the_file_api_is_read(self):
        body = b'{"action":"fp.upload","id":1,"text":{"url":"https://www.filestackapi.com/api/file/H"}}'
        assert parse_event(body).file().handle == "H"

    def test_upload_tags_are_read(self):
        found = parse_event(payload("webhook_fp_upload_with_tags.json")).file()
        assert found.upload_tags == {"tenant": "7", "upload_id": "0190c0de"}

    def test_what_is_no_handle_does_not_hide_the_one_beside_it(self):
        text = {
            "link": {"handle": ":", "url": "/"},
            "url": "https://cdn.filestackcontent.com/abc",
        }
        body = json.dumps({"id": 1, "action": "fp.converse", "text": text}).encode()
        assert parse_event(body).file().handle == "abc"

    def test_an_event_without_handle_is_refused(self):
        with pytest.raises(PayloadError, match="handle"):
            parse_event(payload("webhook_fp_upload_python_test.json")).file()

    @pytest.mark.parametrize("size", [-1, "9", True, 2**63, 1.5, None, []])
    def test_a_fact_of_the_wrong_type_counts_as_not_said(self, size):
        text = {"handle": "h", "size": size, "filename": ["x"], "upload_tags": "none"}
        body = json.dumps({"id": 1, "action": "fp.upload", "text": text}).encode()
        found = parse_event(body).file()
        assert (found.size, found.filename, found.upload_tags) == (None, "", {})

    def test_a_lone_surrogate_in_a_name_is_made_storable(self):
        text = {"handle": "h", "filename": "a\ud800\x00", "size": 5.0}
        body = json.dumps({"id": 1, "action": "fp.upload", "text": text}).encode()
        found = parse_event(body).file()
        assert found.filename == "a\ufffd\ufffd"
        assert found.size == 5


class TestWorkflows:
    def test_the_tags_of_a_webhook_are_read(self):
        job = parse_event(payload("webhook_fs_workflow_tags.json")).workflow()
        assert job.workflow_id == "c516519f-3755-4fb5-85a4-15ae4b31d475"
        assert job.job_id is None
        assert job.sources == (Source.handle("VJQTvCboRVivWJ2BpKgd"),)
        assert job.created_at == datetime(2019, 3, 11, 13, 49, 54, 233362, UTC)
        assert job.updated_at == datetime(2019, 3, 11, 13, 49, 54, 825867, UTC)
        assert (job.is_finished, job.is_failed, job.errors) == (True, False, {})
        [found] = job.tags
        assert found.task == "tags_1552311891723"
        assert found.reply.auto["umbrella"] == 97
        assert job.merged_tags().auto == found.reply.auto
        assert "tags_1552311891723" in job.raw_results

    @pytest.mark.parametrize(
        "name",
        [name for name in WEBHOOKS if "fs_workflow" in name and "_tags.json" not in name],
    )
    def test_other_tasks_bring_no_tags(self, name):
        job = parse_event(payload(name)).workflow()
        assert job.tags == ()
        assert job.merged_tags() is None
        assert job.raw_results == decoded(name)["text"]["results"]

    def test_a_failed_task_is_reported_in_a_finished_job(self):
        job = parse_event(payload("webhook_fs_workflow_task_error.json")).workflow()
        assert job.is_finished
        assert job.errors == {"tags_1552311891723": "service temporarily unavailable"}

    @pytest.mark.parametrize("status", ["Failed", "failed", "ERROR"])
    def test_a_failed_job_is_told_in_any_case(self, status):
        text = {**decoded("webhook_fs_workflow_failed.json")["text"], "status": status}
        job = parse_job(text)
        assert (job.is_failed, job.is_finished) == (True, False)

    def test_the_reply_of_run_workflow_is_read(self):
        job = parse_job(payload("run_workflow_response.json"))
        assert job.job_id == "7dba00f5-aee2-4f65-bd16-631e626b3c93"
        assert job.sources == (Source.handle("pR4oeS63QLmYIFNs2ZvZ"),)
        assert (job.is_finished, job.is_failed, job.status) == (False, False, "Started")

    def test_the_reply_of_workflow_status_is_read(self):
        assert parse_job(payload("workflow_status_started.json")).tags == ()
        job = parse_job(payload("workflow_status_finished.json").decode())
        assert job.merged_tags().auto["rain"] == 96
        assert job.updated_at == datetime(2019, 10, 24, 20, 50, 40, 100000, UTC)

    def test_several_tasks_merge_and_a_broken_one_harms_no_other(self):
        results = {
            "one": {"data": {"tags": {"auto": {"Owl": 80, "sky": 9}, "user": {"me": 1}}}},
            "two": {"data": {"tags": {"auto": {"owl": 90}}}},
            "bad": {"data": {"tags": {"auto": {"owl": 101}}}},
            "odd": {"error": {"code": 5}},
            "null": None,
        }
        job = parse_job({"job": "j-1", "results": results})
        assert (job.workflow_id, job.job_id) == ("", "j-1")
        assert [found.task for found in job.tags] == ["one", "two"]
        assert job.errors["bad"] == (
            "tags.auto gives 'owl' the confidence 101; it must be a number from 0 to 100."
        )
        assert job.errors["odd"] == '{"code": 5}'
        assert job.merged_tags() == TagsReply(
            {"owl": 90, "sky": 9}, {"me": 1}, job.merged_tags().raw
        )

    def test_sources_may_be_urls_and_unknown_ones_are_left_out(self):
        sources = ["https://example.com/a.jpg", "wf://1/2/3", 7, "src://a/b", ""]
        job = parse_job({"jobid": "j", "sources": sources})
        assert [source.kind for source in job.sources] == ["url", "alias"]

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ({"jobid": None}, "no workflow and no jobid"),
            ({"jobid": "a b"}, "jobid must be"),
            ({"jobid": 7}, "jobid must be"),
            ({"jobid": "j" * 101}, "jobid must be"),
            ({"workflow": ["w"]}, "workflow must be"),
            ({"jobid": "j", "results": []}, "results must be an object, not a list"),
            ({"jobid": "j", "sources": "abc"}, "sources must be a list, not 'abc'"),
        ],
    )
    def test_what_is_no_job_is_refused(self, wrong, reason):
        with pytest.raises(PayloadError, match=reason):
            parse_job(wrong)


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "handle"),
        [
            ("store_response", "HANDLE"),
            ("process_response", "bfTNCigRLq0QMI6lrlBT"),
            ("upload_multipart_complete_response", "6GKA0wnQWO7tKaGu2YXA"),
            ("overwrite_response", "HANDLE"),
        ],
    )
    def test_every_reply_names_a_handle(self, name, handle):
        found = parse_file(payload(f"{name}.json"))
        assert found.handle == handle
        assert found.mimetype.startswith("image/")
        assert found.size == decoded(f"{name}.json")["size"]
        assert json.loads(found.raw) == decoded(f"{name}.json")

    def test_the_jobs_of_started_workflows_are_read(self):
        found = parse_file(payload("upload_multipart_complete_response_workflows.json"))
        assert found.workflows == {f"workflow-{number}": "some-jobid" for number in (1, 2, 3)}
        assert found.upload_tags == {"key1": "value1"}

    def test_metadata_is_read(self):
        found = parse_metadata(payload("metadata.json"))
        assert (found.filename, found.mimetype, found.size) == ("a.jpg", "image/jpeg", 8331)
        assert (found.width, found.height, found.sha256) == (None, None, "")

    @pytest.mark.parametrize("parse", [parse_file, parse_metadata])
    def test_an_error_is_no_file(self, parse):
        with pytest.raises(PayloadError):
            parse(payload("error_processing_string.json"))


class TestTimestamps:
    @pytest.mark.parametrize("vector", decoded("timestamps.json"))
    def test_every_published_form_is_read(self, vector):
        found = parse_timestamp(vector["in"])
        assert found.isoformat(timespec="microseconds") == datetime.fromisoformat(
            vector["micro"]
        ).isoformat(timespec="microseconds")
        assert found.tzinfo is UTC

    @given(st.datetimes(timezones=st.just(UTC)), st.text("0123456789", max_size=12))
    def test_any_number_of_digits_is_cut_to_microseconds(self, moment, digits):
        text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        found = parse_timestamp(f"{text}.{digits}Z" if digits else f"{text}Z")
        micro = int(digits[:6].ljust(6, "0")) if digits else 0
        assert found == moment.replace(microsecond=micro)

    def test_an_offset_is_turned_into_utc(self):
        assert parse_timestamp("2019-03-11T15:49:54+02:00") == datetime(
            2019, 3, 11, 13, 49, 54, tzinfo=UTC
        )
        assert parse_timestamp("2019-03-11T11:19:54.5-02:30") == datetime(
            2019, 3, 11, 13, 49, 54, 500000, UTC
        )

    @pytest.mark.parametrize(
        "text",
        [
            None,
            1552312203,
            "",
            "2019-03-11",
            "2019-03-11T13:49:54",
            "2019-13-11T13:49:54Z",
            "2019-03-11T13:49:54.Z",
            "2019-03-11T13:49:54+99:99",
            "0001-01-01T00:00:00+23:00",
            "２019-03-11T13:49:54Z",
        ],
    )
    def test_what_is_no_time_gives_none(self, text):
        assert parse_timestamp(text) is None

    @given(st.text() | json_values)
    def test_nothing_is_ever_raised(self, value):
        found = parse_timestamp(value)
        assert found is None or found.tzinfo is UTC
        found = parse_unix(value)
        assert found is None or found.tzinfo is UTC
