"""Policies: the same text and signature as in Filestack's own SDKs."""

from __future__ import annotations

import base64
import json
import re

import filestack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.security import CALLS, Security, encode_policy, literally
from filestack_tags.filestack.sources import Source
from filestack_tags.testing.policies import PolicyRefused, Wanted, check
from tests.payloads import decoded

VECTORS = decoded("security_vectors.json")
SECRET = "TESTSECRET0000000000000000"


@pytest.mark.parametrize("vector", [v for v in VECTORS if "policy" in v])
def test_a_policy_is_written_and_signed_as_by_the_python_sdk(vector):
    signed = Security(vector["app_secret"]).sign(vector["policy"])
    assert signed.policy == vector["policy_b64"]
    assert signed.signature == vector["signature"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if not v.get("negative")])
def test_every_published_policy_text_is_encoded_and_signed_alike(vector):
    encoded = encode_policy(vector["json"])
    assert encoded == vector["policy_b64"]
    assert Security(vector["app_secret"]).signature(encoded) == vector["signature"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.get("negative")])
def test_standard_or_unpadded_base64_is_never_made(vector):
    encoded = encode_policy(vector["json"])
    assert encoded != vector["policy_b64"]
    assert base64.urlsafe_b64decode(encoded) == vector["json"].encode()
    assert Security(vector["app_secret"]).signature(encoded) != vector["signature"]


@given(
    calls=st.lists(st.sampled_from(sorted(CALLS - {"revoke"})), min_size=1),
    expiry=st.integers(1, 2**40),
    handle=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    path=st.text(st.characters(exclude_categories=["Cs"])),
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_the_official_sdk_signs_the_same(calls, expiry, handle, path, secret):
    policy = {"call": calls, "expiry": expiry, "handle": handle, "path": path}
    theirs = filestack.Security(policy, secret)
    ours = Security(secret).sign(policy)
    assert (ours.policy, ours.signature) == (theirs.policy_b64, theirs.signature)


def policy_in(signed):
    return json.loads(base64.urlsafe_b64decode(signed.policy))


def test_a_policy_for_a_call_is_short_lived_and_pinned():
    security = Security(SECRET, clock=lambda: 1000.9)
    signed = security.policy_for(("stat",), source=Source.handle("abc"), expires_in=60)
    assert policy_in(signed) == {"call": ["stat"], "expiry": 1060, "handle": "abc"}


def test_an_upload_policy_can_be_limited():
    signed = Security(SECRET, clock=lambda: 0).policy_for(
        ("pick", "store"), container="a.b", path="/p+/", max_size=10
    )
    assert policy_in(signed) == {
        "call": ["pick", "store"],
        "container": r"^a\.b$",
        "expiry": 300,
        "maxSize": 10,
        "path": r"^/p\+/",
    }


url_tails = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
    | st.sampled_from(".*+?|()[]{}^$\\"),
    max_size=30,
)


@given(url_tails, url_tails)
@example("a.jpg", "axjpg")
@example(".*", "b.jpg")
@example("a.jpg", "a.jpg/../b.jpg")
@example("a", "x?u=https://example.com/a")
@example("a.jpg|x", "a.jpg")
def test_a_policy_for_a_url_is_good_for_this_url_alone(tail, other):
    mine, theirs = (Source.url(f"https://example.com/{each}") for each in (tail, other))
    signed = Security(SECRET).policy_for(source=mine)
    for source in (mine, theirs):
        wanted = Wanted("convert", url=source.reference)
        if source == mine:
            check(signed.policy, signed.signature, SECRET, wanted)
        else:
            with pytest.raises(PolicyRefused):
                check(signed.policy, signed.signature, SECRET, wanted)


@given(st.text(max_size=20))
def test_an_expression_matches_the_text_it_was_made_of_and_no_other(text):
    assert re.search(f"^{literally(text)}$", text)
    for other in (f"{text}x", f"x{text}", text[1:] + "x"):
        assert bool(re.search(f"^{literally(text)}$", other)) is (other == text)


@pytest.mark.parametrize("calls", [(), "read", ("read", "calls"), ("Read",)])
def test_a_policy_that_would_allow_everything_is_refused(calls):
    with pytest.raises(ValueError, match="A policy names one or more of convert"):
        Security(SECRET).policy_for(calls)


def test_a_policy_must_expire_in_the_future():
    with pytest.raises(ValueError, match="1 second or more"):
        Security(SECRET).policy_for(("read",), expires_in=0)


@pytest.mark.parametrize("expiry", [None, True, 1.5, "1735689600"])
def test_a_policy_needs_an_expiry(expiry):
    with pytest.raises(ValueError, match="expiry"):
        Security(SECRET).sign({"call": ["read"], "expiry": expiry})


def test_without_a_secret_nothing_can_be_signed():
    with pytest.raises(ConfigurationError, match="APP_SECRET"):
        Security("")


def test_reprs_hide_what_they_hold():
    security = Security(SECRET)
    signed = security.sign({"expiry": 1})
    shown = f"{security!r} {signed!r} {signed} {security}"
    assert SECRET not in shown
    assert signed.policy not in shown
    assert signed.signature not in shown
