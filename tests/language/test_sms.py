"""Segments by hand-counted texts and an independent count; words that mean stop; names of senders."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctl.language.sms import GSM_BASIC, GSM_EXTENDED, says_start, says_stop, segments, sender_fault


@pytest.mark.parametrize(
    ("text", "count", "encoding", "culprits"),
    [
        ("", 1, "gsm-7", ""),
        ("a" * 160, 1, "gsm-7", ""),
        ("a" * 161, 2, "gsm-7", ""),
        ("a" * 306, 2, "gsm-7", ""),
        ("a" * 307, 3, "gsm-7", ""),
        ("€" * 80, 1, "gsm-7", ""),
        ("€" * 81, 2, "gsm-7", ""),
        # 153 is odd: an escaped character that would straddle two parts goes to the second one whole.
        ("a" * 152 + "€" + "a" * 151, 2, "gsm-7", ""),
        ("a" * 152 + "€" + "a" * 152, 3, "gsm-7", ""),
        ("Votre panier à 10 € : élégant, très bien", 1, "gsm-7", ""),
        ("Ça vous plaît ?", 1, "ucs-2", "î"),
        ("ç" * 70, 1, "ucs-2", "ç"),
        ("ç" * 71, 2, "ucs-2", "ç"),
        ("ç" * 134, 2, "ucs-2", "ç"),
        ("ç" * 135, 3, "ucs-2", "ç"),
        ("😀" * 35, 1, "ucs-2", "😀"),
        ("😀" * 36, 2, "ucs-2", "😀"),
        # 67 is odd: 33 pairs a part.
        ("😀" * 66, 2, "ucs-2", "😀"),
        ("😀" * 67, 3, "ucs-2", "😀"),
        ("l’été “vient”", 1, "ucs-2", "’“”"),
    ],
)
def test_counted_by_hand(text, count, encoding, culprits):
    assert segments(text) == (count, encoding, tuple(culprits))


def test_the_alphabet_has_its_size():
    # 128 codes, of which one is the escape; ten more behind it (3GPP TS 23.038, the form feed included).
    assert (len(GSM_BASIC), len(GSM_EXTENDED)) == (127, 10)


@given(st.text(max_size=500))
def test_never_fewer_than_the_octets_need(text):
    said = segments(text)
    if said.culprits:
        units = len(text.encode("utf-16-be", "surrogatepass")) // 2
        assert said.parts == (1 if units <= 70 else said.parts)
        assert math.ceil(units / 67) <= said.parts <= math.ceil(units / 66) or units <= 70
    else:
        units = sum(2 if char in GSM_EXTENDED else 1 for char in text)
        assert math.ceil(units / 153) <= said.parts <= math.ceil(units / 152) or units <= 160


@pytest.mark.parametrize(
    "text",
    ["STOP", "stop", " Stop. ", "STOP 36111", "stop au 36180", "Arrêt", "ARRET", "STOPSMS", "Unsubscribe!", "opt-out", "«Stop»", "STOP\n",
     "Désabonnement", "Afmelden", "BAJA", "STOP to 31002"],
)  # fmt: skip
def test_replies_that_say_stop(text):
    assert says_stop(text)


@pytest.mark.parametrize(
    "text",
    ["", "START", "please stop", "stop it you two", "don't stop", "oui", "STOP 36111 merci", "bus stop 36", "36111", "non stop", "stop" * 20],
)  # fmt: skip
def test_replies_that_do_not(text):
    assert not says_stop(text)


@pytest.mark.parametrize(
    ("text", "starts"), [("START", True), (" Unstop. ", True), ("start 36111", True), ("yes", False), ("STOP", False), ("start it", False)]
)  # fmt: skip
def test_replies_that_say_start(text, starts):
    assert says_start(text) is starts


@pytest.mark.parametrize("sender", ["MaisonLune", "Shop 24", "+33612345678", "36111", "A&B", "MG" + "0a" * 16])
def test_senders(sender):
    assert sender_fault(sender) == ""


@pytest.mark.parametrize(
    "sender", ["MaisonLuneParis", "Café", "", "0612345678901", "12", "+0612345678", "<b>", "1-2-3"]
)
def test_what_is_no_sender(sender):
    assert sender_fault(sender)
