from __future__ import annotations

import pytest

from flowctl.engine.links import Claim, Links

CLAIM = Claim(key="k" * 32, contact_id=7, channel="email", topic="offers")
LINKS = Links(secret="a" * 64, public_url="https://news.example/")


def token(url):
    return url.rpartition("/")[2]


def test_what_was_signed_is_read():
    for claim in (
        CLAIM,
        Claim(key="", contact_id=1, channel="sms", topic=None),
        Claim(key="é/?", contact_id=2, channel="email", topic="à"),
    ):
        url = LINKS.url("unsubscribe", claim)
        assert url.startswith("https://news.example/u/")
        assert url.isascii()
        assert " " not in url
        assert LINKS.read("unsubscribe", token(url)) == claim


def test_the_same_claim_is_the_same_link():
    assert LINKS.url("unsubscribe", CLAIM) == Links(secret="a" * 64, public_url="https://news.example").url(
        "unsubscribe", CLAIM
    )


def test_a_link_for_one_purpose_serves_no_other():
    assert LINKS.read("preferences", token(LINKS.url("unsubscribe", CLAIM))) is None


def test_another_stores_link_says_nothing():
    assert (
        Links(secret="b" * 64, public_url="https://news.example").read(
            "unsubscribe", token(LINKS.url("unsubscribe", CLAIM))
        )
        is None
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1],
        lambda t: "A" + t[1:],
        lambda t: "",
        lambda t: t + "x",
        lambda t: "é" + t,
        lambda t: ".",
        lambda t: t.replace(".", ""),
    ],
)
def test_a_changed_link_says_nothing(change):
    assert LINKS.read("unsubscribe", change(token(LINKS.url("unsubscribe", CLAIM)))) is None


def test_the_secret_is_not_shown():
    assert "a" * 64 not in repr(LINKS)
