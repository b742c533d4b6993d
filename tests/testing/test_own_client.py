"""The package's own client against the emulator, without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from filestack_tags.exceptions import (
    AccessDenied,
    FileNotFound,
    FilestackError,
    InvalidApplication,
    PolicyRejected,
    RateLimited,
    RequestRejected,
    ServerError,
    UnexpectedReply,
)
from filestack_tags.filestack.client import FilestackClient
from filestack_tags.filestack.sources import Source
from filestack_tags.testing import Account, EmulatorApp, EmulatorServer, Workflow

from .surroundings import SECRET, WORKFLOW, config, picture

CDN = "https://cdn.filestackcontent.com"


def client_of(app: EmulatorApp, **more: str) -> FilestackClient:
    options = {"api_key": "AKEY", "app_secret": SECRET, "cdn_url": CDN, "api_url": f"{CDN}/api"}
    return FilestackClient(transport=httpx2.WSGITransport(app=app), **(options | more))


@pytest.fixture
def client(app: EmulatorApp) -> Iterator[FilestackClient]:
    with client_of(app) as client:
        yield client


def test_a_file_is_stored_tagged_described_and_deleted(
    app: EmulatorApp, client: FilestackClient
) -> None:
    stored = client.store_bytes(picture(), filename="red.jpg", mimetype="image/jpeg")
    source = Source.handle(stored.handle)

    assert dict(client.tags(source).auto) == {"red": 99, "40 x 20": 90}
    assert "20 x 10" in dict(client.tags(source, before=["resize=h:10"], version=2).auto)
    assert client.download(source, max_bytes=10_000) == picture()
    metadata = client.metadata(stored.handle)
    assert (metadata.width, metadata.height, metadata.size) == (40, 20, len(picture()))
    client.delete(stored.handle)
    with pytest.raises(FileNotFound):
        client.tags(source)


def test_a_workflow_is_run_to_its_end(
    app: EmulatorApp, client: FilestackClient, handle: str
) -> None:
    job = client.run_workflow(WORKFLOW, Source.handle(handle))
    assert job.job_id is not None
    assert client.workflow_status(job.job_id).status == "Started"

    app.run_due()

    assert client.workflow_status(job.job_id).status == "Finished"


def test_a_url_is_stored_with_tags_and_workflow(app: EmulatorApp) -> None:
    with EmulatorServer(app) as server, client_of(app) as client:
        account = Account(security=False)
        with EmulatorApp(config(account=account)) as pages, EmulatorServer(pages) as open_pages:
            file = pages.files.add(
                picture(), filename="ü 1.jpg", mimetype="", options={}, base_url=server.url
            )
            url = f"{open_pages.url}/{file.handle}?x=%41&y=ü"
            stored = client.store_url(
                url, filename="copy.jpg", upload_tags={"tenant": "7"}, workflows=[WORKFLOW]
            )
            assert "red" in dict(client.tags(Source.url(url)).auto)

    assert stored.filename == "copy.jpg"


def test_an_alias_path_is_tagged(tmp_path: Path) -> None:
    (tmp_path / "a b.jpg").write_bytes(picture("green"))
    account = Account(aliases={"photos": tmp_path}, workflows=(Workflow(WORKFLOW),))
    with EmulatorApp(config(account=account)) as app, client_of(app) as client:
        tags = dict(client.tags(Source.alias("photos", "a b.jpg")).auto)

    assert "green" in tags


@pytest.mark.parametrize(("alias", "path"), [("photos", "b.jpg"), ("videos", "a.jpg")])
def test_a_wrong_alias_path_is_named_as_one(tmp_path: Path, alias: str, path: str) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    account = Account(aliases={"photos": tmp_path})
    with (
        EmulatorApp(config(account=account)) as app,
        client_of(app) as client,
        pytest.raises(FileNotFound) as missing,
    ):
        client.tags(Source.alias(alias, path))

    assert "Check the handle, URL or storage alias path." in str(missing.value)


def test_wrong_credentials_are_named(app: EmulatorApp, handle: str) -> None:
    with client_of(app, app_secret="wrong") as client, pytest.raises(PolicyRejected):
        client.tags(Source.handle(handle))
    with client_of(app, api_key="OTHER") as client:
        with pytest.raises(InvalidApplication):
            client.store_bytes(b"x", filename="a", mimetype="text/plain")
        with pytest.raises(AccessDenied):
            client.tags(Source.url("http://127.0.0.1:1/a.jpg"))


def test_the_last_call_allowed_says_when_further_ones_are(
    app: EmulatorApp, client: FilestackClient, handle: str
) -> None:
    app.faults.add("last_call", operation="tags", seconds=90)
    before = datetime.now(UTC)
    reset = client.tags(Source.handle(handle)).resumes_at
    assert reset
    assert timedelta(seconds=89) <= reset - before <= timedelta(seconds=120)
    assert client.tags(Source.handle(handle)).resumes_at is None


@pytest.mark.parametrize(
    ("kind", "error", "retryable"),
    [
        ("rate_limited", RateLimited, True),
        ("server_error", ServerError, True),
        ("truncated", UnexpectedReply, None),
        ("plain_text", RequestRejected, False),
        ("error_json", FilestackError, None),
        ("invalid_application", InvalidApplication, False),
    ],
)
def test_every_fault_is_an_error_of_ours(
    app: EmulatorApp,
    client: FilestackClient,
    handle: str,
    kind: str,
    error: type[FilestackError],
    retryable: bool | None,
) -> None:
    app.faults.add(kind, operation="tags")

    with pytest.raises(error) as caught:
        client.tags(Source.handle(handle))

    assert retryable in (None, caught.value.retryable)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_picture_is_rejected(
    app: EmulatorApp, client: FilestackClient
) -> None:
    stored = client.store_bytes(b"text", filename="a.txt", mimetype="text/plain")

    with pytest.raises(RequestRejected, match="Unsupported input format"):
        client.tags(Source.handle(stored.handle))
