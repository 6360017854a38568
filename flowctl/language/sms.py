"""How long a text is as an SMS, which words of a reply mean stop and start, and what a sender may be called."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# 3GPP TS 23.038 §6.2.1: the GSM 7-bit default alphabet, and its extension table, whose characters cost two (an escape each).
GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENDED = frozenset("^{}\\[~]|€\f")
# 3GPP TS 23.040 §9.2.3.24: 140 octets of user data, of which a concatenated part gives 6 to its header.
GSM_UNITS, GSM_UNITS_CONCATENATED = 160, 153
UCS2_UNITS, UCS2_UNITS_CONCATENATED = 70, 67
GSM, UCS2 = "gsm-7", "ucs-2"

# Replies that say stop: the word alone. Twilio's defaults (STOP, STOPALL, UNSUBSCRIBE, CANCEL, END, QUIT, REVOKE, OPTOUT), those
# AWS End User Messaging must honour (ARRET, OPT-OUT, REMOVE, TD), the French charter of the operators (AF2M: STOP and its number),
# and the word that Dutch, German, Spanish, Italian and Portuguese senders are used to print.
STOP_WORDS = frozenset(
    {
        "stop", "stopall", "stopsms", "stop sms", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt-out", "opt out",
        "remove", "td",
        "arret", "arreter", "arretez", "arret sms", "desabonner", "desabonnement", "desinscription", "desinscrire",
        "stoppen", "afmelden", "uitschrijven",
        "stopp", "abmelden", "abbestellen",
        "baja", "parar", "cancelar", "sair", "remover", "cancella", "disiscrivi",
    }
)  # fmt: skip
# Replies that take a stop back, as carriers in the United States know them (CTIA, Messaging Principles and Best Practices, §5.1;
# Twilio's START and UNSTOP). Not its YES: that answers other questions too.
START_WORDS = frozenset({"start", "unstop"})
# "STOP 36111": the word and the short number it was sent to.
_SHORT_NUMBER = re.compile(r"\s+(?:au\s+|to\s+|aan\s+)?\d{3,8}")
_AROUND = " \t\r\n.,;:!?\"'«»“”’()[]*-–"
STOP_CHARS_MAX = 40

ALPHANUMERIC_CHARS_MAX = 11  # 3GPP TS 23.040 §9.1.2.5: ten octets of 7-bit characters
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9 .&+_-]*[A-Za-z][A-Za-z0-9 .&+_-]*")
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE = re.compile(r"\d{3,8}")


class Segments(NamedTuple):
    """How a text goes out: in so many parts, in this encoding, and which characters made it leave GSM-7."""

    parts: int
    encoding: str  # GSM or UCS2
    culprits: tuple[str, ...]  # each once, in order of appearance; none in GSM-7


def segments(text: str) -> Segments:
    """The SMS segments of a text: GSM-7 where every character is in its tables, else UCS-2 in UTF-16 code units.

    An escaped character, or a surrogate pair, is never parted between two segments. An empty text is one segment.
    """
    culprits = tuple(dict.fromkeys(char for char in text if char not in GSM_BASIC and char not in GSM_EXTENDED))
    if culprits:
        sizes = [2 if ord(char) > 0xFFFF else 1 for char in text]  # noqa: PLR2004 - the end of the Basic Multilingual Plane
        return Segments(_parts(sizes, UCS2_UNITS, UCS2_UNITS_CONCATENATED), UCS2, culprits)
    sizes = [2 if char in GSM_EXTENDED else 1 for char in text]
    return Segments(_parts(sizes, GSM_UNITS, GSM_UNITS_CONCATENATED), GSM, ())


def _parts(sizes: list[int], alone: int, concatenated: int) -> int:
    if sum(sizes) <= alone:
        return 1
    parts, used = 1, 0
    for size in sizes:
        if used + size > concatenated:
            parts, used = parts + 1, 0
        used += size
    return parts


def says_stop(text: str) -> bool:
    """Whether a reply is one of `STOP_WORDS`, whatever its case and accents, alone or with the short number behind it."""
    return _says(text, STOP_WORDS)


def says_start(text: str) -> bool:
    """Whether a reply is one of `START_WORDS`, as `says_stop` reads them."""
    return _says(text, START_WORDS)


def _says(text: str, known: frozenset[str]) -> bool:
    if len(text) > STOP_CHARS_MAX:
        return False
    plain = "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char))
    words = " ".join(plain.strip(_AROUND).split())
    if words in known:
        return True
    number = _SHORT_NUMBER.search(words)
    return number is not None and number.end() == len(words) and words[: number.start()] in known


def sender_fault(sender: str) -> str:
    """Why an SMS cannot come from such a sender; empty where it can.

    A sender is a name of at most 11 letters, digits and spaces with at least one letter, a number in E.164, or a short code.
    """
    if _NUMBER.fullmatch(sender) or _SHORT_CODE.fullmatch(sender):
        return ""
    if sender.startswith("MG"):  # a Messaging Service of Twilio's, which picks the number
        return "" if re.fullmatch(r"MG[0-9a-f]{32}", sender) else _name_fault(sender)
    return _name_fault(sender)


def _name_fault(sender: str) -> str:
    if len(sender) > ALPHANUMERIC_CHARS_MAX:
        return f"it has {len(sender)} characters, and phones show at most {ALPHANUMERIC_CHARS_MAX} of a name"
    if not _ALPHANUMERIC.fullmatch(sender):
        return (
            "a name is of letters, digits and spaces, without accents, with at least one letter; a number begins with +"
        )
    return ""
