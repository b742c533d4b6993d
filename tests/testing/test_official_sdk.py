"""filestack-python 4.0.0, unmodified, with only its hosts pointed at the emulator.

Its multipart upload requires ``https://{location_url}``, so the emulator uses TLS with a
certificate created for the run.
"""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import filestack
import pytest
from filestack import Client, Filelink, Security
from filestack.exceptions import FilestackHTTPError
from filestack.helpers import verify_webhook_signature
from PIL import Image

from filestack_tags.testing import Account, EmulatorApp, EmulatorServer, Workflow

from .surroundings import SECRET, WORKFLOW, Receiver, config, picture


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, for a day."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def emulator(
    certificate: tuple[Path, Path],
    receiver: Receiver,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[EmulatorApp]:
    """The emulator as the SDK's Filestack; parametrize indirectly to disable security."""
    account = Account(
        security=getattr(request, "param", True),
        webhook_url=receiver.url,
        workflows=(Workflow(WORKFLOW),),
    )
    with (
        EmulatorApp(config(account=account, background=True)) as app,
        EmulatorServer(
            app, "localhost", certificate=certificate[0], key=certificate[1]
        ) as server,
    ):
        hosts = type(filestack.config)
        monkeypatch.setattr(hosts, "CDN_URL", server.url)
        monkeypatch.setattr(hosts, "MULTIPART_START_URL", f"{server.url}/multipart/start")
        monkeypatch.setattr(hosts, "API_URL", f"{server.url}/api")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        yield app


@pytest.fixture
def client() -> Client:
    """An SDK client whose policy allows everything for a minute."""
    return Client("AKEY", security=Security({"expiry": int(time.time()) + 60}, SECRET))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "red.jpg"
    path.write_bytes(picture())
    return path


def noise(side: int) -> bytes:
    """An incompressible picture of more than one part."""
    written = io.BytesIO()
    Image.effect_noise((side, side), 100).save(written, "PNG")
    return written.getvalue()


def test_it_uploads_reads_tags_overwrites_and_deletes(
    emulator: EmulatorApp, client: Client, file: Path, tmp_path: Path, receiver: Receiver
) -> None:
    link = client.upload(filepath=str(file))
    assert link.upload_response["mimetype"] == "image/jpeg"
    assert link.get_content() == picture()
    assert link.tags()["tags"]["auto"] == {"red": 99, "40 x 20": 90}
    assert link.sfw() == {"sfw": True}
    assert link.metadata(["size", "filename"]) == {
        "size": len(picture()),
        "filename": "red.jpg",
    }

    link.overwrite(file_obj=io.BytesIO(picture("blue")))
    # The CDN answers a known URL from its cache.
    assert "red" in link.tags()["tags"]["auto"]
    assert "blue" in link.resize(width=20).tags()["tags"]["auto"]
    link.delete()
    with pytest.raises(FilestackHTTPError):
        link.tags()

    assert emulator.wait_idle()
    assert [event["action"] for event in receiver.events] == [
        "fp.upload",
        "fp.overwrite",
        "fp.converse",
        "fp.delete",
    ]
    for body, headers in receiver.received:
        assert verify_webhook_signature("whsec-A", body, headers) == (True, {})


def test_it_uploads_in_several_parts(emulator: EmulatorApp, client: Client) -> None:
    content = noise(2600)
    assert len(content) > 5 * 1024**2

    link = client.upload(file_obj=io.BytesIO(content), store_params={"filename": "n.png"})

    assert emulator.store.content(link.handle) == content


def test_it_uploads_by_intelligent_ingestion(
    emulator: EmulatorApp, client: Client, file: Path
) -> None:
    emulator.faults.add("accepted", operation="multipart.complete", times=1)
    with pytest.raises(Exception, match="complete response"):
        # It retries for http only, so with TLS a 202 is an error.
        client.upload(filepath=str(file), intelligent=True)

    link = client.upload(filepath=str(file), intelligent=True)
    assert emulator.store.content(link.handle) == picture()


def test_an_upload_starts_its_workflow_and_says_which_job(
    emulator: EmulatorApp, client: Client, file: Path, receiver: Receiver
) -> None:
    params = {"workflows": [WORKFLOW], "upload_tags": {"tenant": "7"}, "path": "in/"}

    link = client.upload(filepath=str(file), store_params=params)

    job = link.upload_response["workflows"][WORKFLOW]["jobid"]
    assert link.upload_response["upload_tags"] == {"tenant": "7"}
    assert emulator.wait_idle()
    event = next(item for item in receiver.events if item["action"] == "fs.workflow")
    assert (event["text"]["jobid"], event["text"]["sources"]) == (job, [link.handle])


def test_it_tags_an_external_url_and_stores_it(
    emulator: EmulatorApp, client: Client, file: Path
) -> None:
    # http, since the emulator reads external URLs from a second server on this machine.
    with EmulatorServer(emulator) as pages:
        link = client.upload(filepath=str(file))
        signed = Security({"expiry": int(time.time()) + 60, "call": ["read"]}, SECRET)
        url = (
            f"{pages.url}/{link.handle}?policy={signed.policy_b64}&signature={signed.signature}"
        )

        assert "red" in client.transform_external(url).tags()["tags"]["auto"]
        stored = client.upload_url(url, store_params={"filename": "copy.jpg"})

    assert emulator.store.content(stored.handle) == picture()


def test_a_resized_picture_is_tagged(emulator: EmulatorApp, client: Client, file: Path) -> None:
    link = client.upload(filepath=str(file))

    assert "20 x 10" in link.resize(width=20).tags()["tags"]["auto"]


@pytest.mark.parametrize("emulator", [False], indirect=True)
def test_store_is_unsigned_and_works_where_security_is_off(
    emulator: EmulatorApp, client: Client, file: Path
) -> None:
    link = client.upload(filepath=str(file))

    copy = link.resize(width=20).store(
        filename="s.jpg", location="S3", path="in/it/", workflows=[WORKFLOW]
    )

    stored = emulator.store.get(copy.handle)
    assert stored is not None
    assert (stored.filename, stored.path) == ("s.jpg", "in/it/")
    assert emulator.wait_idle()


def test_store_is_unsigned_and_refused_where_security_is_on(
    emulator: EmulatorApp, client: Client, file: Path
) -> None:
    link = client.upload(filepath=str(file))

    with pytest.raises(FilestackHTTPError, match="policy error"):
        link.store()


def test_a_policy_of_the_sdk_is_held_to_its_calls(
    emulator: EmulatorApp, client: Client, file: Path
) -> None:
    link = client.upload(filepath=str(file))
    reading = Security({"expiry": int(time.time()) + 60, "call": ["read"]}, SECRET)

    assert Filelink(link.handle, security=reading).get_content() == picture()
    with pytest.raises(FilestackHTTPError, match="policy error"):
        Filelink(link.handle, security=reading).tags()
