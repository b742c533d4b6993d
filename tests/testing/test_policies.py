"""Policies and signatures, compared with the published vectors."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from filestack_tags.testing.policies import PolicyNotBase64, PolicyRefused, Wanted, check

from .surroundings import SECRET, policy, signed

VECTORS = json.loads((Path(__file__).parents[1] / "payloads/security_vectors.json").read_text())
GOOD = [vector for vector in VECTORS if "policy_b64" in vector and "signature" in vector]
CONVERT = Wanted("convert", handle="H")
LATER = 4102444800


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["signature"][:8])
def test_a_published_signature_is_never_called_wrong(vector: dict[str, Any]) -> None:
    wanted = Wanted(
        "convert",
        handle=json.loads(vector["json"]).get("handle"),
        url="https://example.com/>>>",
    )
    given = vector["policy_b64"], vector["signature"], vector["app_secret"], wanted
    if len(vector["policy_b64"]) % 4 or set("+/") & set(vector["policy_b64"]):
        with pytest.raises(PolicyNotBase64):
            check(*given)
    elif json.loads(vector["json"])["expiry"] < time.time():
        with pytest.raises(PolicyRefused, match="expired"):
            check(*given)
    elif "convert" not in json.loads(vector["json"]).get("call", ["convert"]):
        with pytest.raises(PolicyRefused, match="does not allow the call"):
            check(*given)
    else:
        check(*given)


def test_one_wrong_character_in_the_signature_is_refused() -> None:
    encoded, signature = policy("convert")
    wrong = signature[:-1] + ("0" if signature[-1] != "0" else "1")

    check(encoded, signature, SECRET, CONVERT)
    with pytest.raises(PolicyRefused, match="signature"):
        check(encoded, wrong, SECRET, CONVERT)


def test_an_upper_case_signature_is_refused() -> None:
    encoded, signature = policy("convert")

    with pytest.raises(PolicyRefused, match="lower-case"):
        check(encoded, signature.upper(), SECRET, CONVERT)


def test_a_signature_that_is_not_ascii_is_refused() -> None:
    with pytest.raises(PolicyRefused):
        check(policy("convert")[0], "ß" * 64, SECRET, CONVERT)


def test_padding_may_not_be_left_out() -> None:
    encoded, _ = signed('{"expiry":4102444800,"xy":1}')
    assert encoded.endswith("=")

    with pytest.raises(PolicyNotBase64):
        check(encoded.rstrip("="), "x", SECRET, CONVERT)


def test_the_standard_alphabet_is_refused() -> None:
    with pytest.raises(PolicyNotBase64):
        check("ab+/", "x", SECRET, CONVERT)


@pytest.mark.parametrize(("given", "signature"), [("", "S"), ("P", "")])
def test_policy_and_signature_are_both_needed(given: str, signature: str) -> None:
    with pytest.raises(PolicyRefused, match="both"):
        check(given, signature, SECRET, CONVERT)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("[1]", "JSON object"),
        ("nonsense", "not JSON"),
        ("{}", "expiry"),
        ('{"expiry": "4102444800"}', "expiry"),
        ('{"expiry": true}', "expiry"),
        ({"expiry": 1735689600}, "expired"),
        ({"expiry": LATER, "call": ["read"]}, "call convert"),
        ({"expiry": LATER, "call": "read"}, "call convert"),
        ({"expiry": LATER, "call": 5}, "neither"),
        ({"expiry": LATER, "handle": "other"}, "another handle"),
        ({"expiry": LATER, "call": ["convert"], "url": "("}, "cannot be read"),
        ({"expiry": LATER, "url": r"^https://example\.com/"}, "url does not match"),
        ({"expiry": LATER, "url": 5}, "url does not match"),
        ({"expiry": LATER, "path": "^/in/"}, "path does not match"),
        ({"expiry": LATER, "maxSize": 9}, "size"),
        ({"expiry": LATER, "minSize": 11}, "size"),
    ],
)
def test_a_policy_allows_no_more_than_it_says(
    rules: dict[str, Any] | str, message: str
) -> None:
    wanted = Wanted("convert", handle="H", url="http://a.example/", size=10, path="/out/")

    with pytest.raises(PolicyRefused, match=message):
        check(*signed(rules), SECRET, wanted)


def test_a_policy_without_calls_allows_all_but_exif() -> None:
    given = signed({"expiry": LATER})

    check(*given, SECRET, Wanted("runWorkflow"))
    with pytest.raises(PolicyRefused):
        check(*given, SECRET, Wanted("exif"))


def test_revoke_is_an_old_name_of_remove() -> None:
    check(*signed({"expiry": LATER, "call": ["revoke"]}), SECRET, Wanted("remove"))


def test_a_policy_is_good_until_its_expiry_and_no_longer() -> None:
    now = int(time.time())
    check(*signed({"expiry": now + 30}), SECRET, CONVERT)
    with pytest.raises(PolicyRefused, match="expired"):
        check(*signed({"expiry": now}), SECRET, CONVERT)


def test_a_url_rule_does_not_concern_a_handle() -> None:
    check(*signed({"expiry": LATER, "url": "^https://only"}), SECRET, CONVERT)
