"""Text and JSON values become typed values of the store, or a sentence on what was found and what is expected."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from flowctl.language.instants import instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Cast = Callable[[Any], Any]

Type = Literal[
    "text", "number", "integer", "boolean", "date", "datetime", "choice", "tags", "email", "phone",
    "language", "timezone", "country",
]  # fmt: skip

BOOLEANS = {
    "true": 1, "1": 1, "yes": 1, "oui": 1, "ja": 1,
    "false": 0, "0": 0, "no": 0, "non": 0, "nee": 0,
}  # fmt: skip
INTEGER_MAX = 2**63 - 1
EPOCH_S_MAX = 100_000_000_000  # a bare number below it counts seconds (until the year 5138), above it milliseconds
MEMO_MAX = 50_000  # values a column remembers before it starts afresh: flat memory
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_EPOCH_NUMBER = re.compile(r"-?\d{9,16}(\.\d+)?")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)")
# A strict part of what email-validator accepts, and unchanged by it but for the domain's case: 50 times as fast.
_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9_+-]{1,30}(?:\.[A-Za-z0-9_+-]{1,30})?@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?\.){1,4}[A-Za-z]{2,24})"
)
_SPECIAL_DOMAINS = ("arpa", "invalid", "local", "localhost", "onion", "test")
_DATE_WORDS = {"YYYY": "%Y", "MM": "%m", "DD": "%d", "YY": "%y"}


class CastError(ValueError):
    """A value that is not of its type; the text says what is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How a source writes its values."""

    zone: ZoneInfo  # of local times
    region: str | None = None  # ISO 3166-1 alpha-2, of phone numbers without a country prefix
    date_format: str | None = None  # strptime, for dates that are not ISO
    decimal_comma: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A type with the values it allows."""

    type: str
    values: tuple[str, ...] = ()


def cast(type_: str, raw: Any, *, zone: ZoneInfo) -> Any:
    """One value of a type as the store keeps it; None for nothing.

    Raises:
        CastError: it is not of the type.
    """
    return caster(Kind(type=type_), Reading(zone=zone))(raw)


def caster(kind: Kind, reading: Reading) -> Cast:
    """A function that casts one value (text, or what JSON holds) of this kind; '' and None give None."""
    make = _MAKERS[kind.type]
    one = make(kind, reading)

    def cast_one(raw: Any) -> Any:
        if isinstance(raw, str):
            raw = raw.strip()
        return None if raw is None or raw == "" else one(raw)

    return cast_one


def column(kind: Kind, reading: Reading) -> Callable[[Sequence[Any], Callable[[int, CastError], None]], list[Any]]:
    """A function that casts a column of cells; `fault(index, error)` hears of each bad cell, whose value becomes None.

    Whole columns of clean text take a path without a Python call a cell; the first oddity sends them cell by cell.
    """
    one = caster(kind, reading)
    fast = _fast(kind, reading, one)

    def cast_column(cells: Sequence[Any], fault: Callable[[int, CastError], None]) -> list[Any]:
        try:
            return fast(cells)
        except (CastError, ValueError, TypeError, AttributeError, KeyError, OverflowError):
            return _one_by_one(one, cells, fault)

    return cast_column


def _one_by_one(one: Cast, cells: Sequence[Any], fault: Callable[[int, CastError], None]) -> list[Any]:
    values: list[Any] = []
    for index, cell in enumerate(cells):
        try:
            values.append(one(cell))
        except CastError as error:
            fault(index, error)
            values.append(None)
    return values


class _Memo(dict[str, Any]):
    """Values already cast, of a column where they repeat; bounded."""

    def __init__(self, one: Cast) -> None:
        super().__init__()
        self._one = one

    def __missing__(self, raw: Any) -> Any:
        if not isinstance(raw, str):  # True, 1 and 1.0 are one key, but not one value
            raise TypeError
        if len(self) >= MEMO_MAX:
            self.clear()
        value = self[raw] = self._one(raw)
        return value


def _fast(kind: Kind, reading: Reading, one: Cast) -> Callable[[Sequence[Any]], list[Any]]:
    match kind.type:
        case "text":
            return lambda cells: [cell.strip() or None for cell in cells]
        case "number" if not reading.decimal_comma:
            return _fast_numbers
        case "integer":
            return _fast_integers
        case "email" | "phone":
            return lambda cells: [one(cell) for cell in cells]
    memo = _Memo(one)
    return lambda cells: [memo[cell] if cell.__class__ is str else one(cell) for cell in cells]


def _plain(cells: Sequence[Any]) -> bool:
    # float() and int() take 1_000 and digits of every script; a sheet that holds those is looked at cell by cell.
    together = "".join(cells)
    return together.isascii() and "_" not in together


def _fast_numbers(cells: Sequence[Any]) -> list[Any]:
    if not _plain(cells):
        raise ValueError
    values = [float(cell) if cell else None for cell in cells]
    if not math.isfinite(
        math.fsum(value for value in values if value is not None)
    ):  # inf and nan are numbers to float()
        raise ValueError
    return values


def _fast_integers(cells: Sequence[Any]) -> list[Any]:
    if not _plain(cells):
        raise ValueError
    values = [int(cell) if cell else None for cell in cells]
    if max(map(abs, filter(None, values)), default=0) > INTEGER_MAX:
        raise OverflowError
    return values


def _text(_kind: Kind, _reading: Reading) -> Cast:
    def one(raw: Any) -> str:
        if isinstance(raw, str):
            return raw
        if isinstance(raw, bool):
            return "true" if raw else "false"
        if isinstance(raw, int | float):
            return str(raw)
        message = "expected a text"
        raise CastError(message)

    return one


def _number(_kind: Kind, reading: Reading) -> Cast:
    def one(raw: Any) -> float | int:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return _finite(raw)
        if isinstance(raw, str):
            text = raw.replace(",", ".") if reading.decimal_comma else raw
            if _NUMBER.fullmatch(text) and text.isascii():
                return _finite(float(text))
            if "," in raw and _NUMBER.fullmatch(raw.replace(",", ".")):
                message = f"expected a number with a decimal point, like {raw.replace(',', '.')}; --decimal-comma reads it as it is"
                raise CastError(message)
        message = "expected a number, like 12.5, without thousands separators or units"
        raise CastError(message)

    return one


def _finite(value: float) -> float:
    if not math.isfinite(value):
        message = "expected a finite number"
        raise CastError(message)
    return float(value)


def _integer(_kind: Kind, _reading: Reading) -> Cast:
    def one(raw: Any) -> int:
        value: float | int | None = None
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            value = raw
        elif isinstance(raw, str) and raw.isascii() and _NUMBER.fullmatch(raw):
            value = int(raw) if raw.lstrip("+-").isdigit() else float(raw)
        if value is None or not math.isfinite(value) or value != int(value):
            message = "expected a whole number"
            raise CastError(message)
        if abs(value) > INTEGER_MAX:
            message = "expected a whole number of at most 64 bits"
            raise CastError(message)
        return int(value)

    return one


def _boolean(_kind: Kind, _reading: Reading) -> Cast:
    def one(raw: Any) -> int:
        found = BOOLEANS.get(str(raw).lower())
        if found is None:
            message = "expected true or false (or yes/no, oui/non, ja/nee, 1/0)"
            raise CastError(message)
        return found

    return one


def _date(_kind: Kind, reading: Reading) -> Cast:
    def one(raw: Any) -> str:
        if isinstance(raw, str):
            try:
                if _ISO_DATE.fullmatch(raw):
                    return date.fromisoformat(raw).isoformat()
                if reading.date_format:
                    return _strptime(raw, reading.date_format).date().isoformat()
            except ValueError:
                pass
        raise CastError(_date_advice("a date like 2026-12-31", reading))

    return one


def _datetime(_kind: Kind, reading: Reading) -> Cast:
    def one(raw: Any) -> int:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return _epoch(float(raw))
        if isinstance(raw, str):
            if _EPOCH_NUMBER.fullmatch(raw):
                return _epoch(float(raw))
            try:
                moment = _moment(raw, reading)
                return instant(moment, reading.zone)
            except (ValueError, OverflowError):
                pass
        raise CastError(
            _date_advice(
                "a time like 2026-12-31T09:00, with an offset where it is not local, or epoch (milli)seconds", reading
            )
        )

    return one


def _epoch(value: float) -> int:
    if not math.isfinite(value) or abs(value) > EPOCH_S_MAX * 1000:
        message = "expected epoch seconds or milliseconds before the year 5138"
        raise CastError(message)
    return round(value * 1000) if abs(value) < EPOCH_S_MAX else round(value)


def _moment(raw: str, reading: Reading) -> datetime:
    if reading.date_format:
        for clock in ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S"):
            try:
                return _strptime(raw, reading.date_format + clock)
            except ValueError:
                continue
    if not _ISO_DATE.match(raw):
        raise ValueError
    return datetime.fromisoformat(raw)


def _strptime(raw: str, pattern: str) -> datetime:
    return datetime.strptime(raw, pattern)  # noqa: DTZ007 - a local time; `instant` gives it its zone


def _date_advice(expected: str, reading: Reading) -> str:
    if reading.date_format:
        return f"expected {expected}, or one in the --date-format given"
    return f"expected {expected}; for others give their --date-format, like DD/MM/YYYY"


def date_format(said: str) -> str:
    """`DD/MM/YYYY` (or strptime's own `%d/%m/%Y`) as strptime wants it.

    Raises:
        CastError: it is no date format.
    """
    pattern = said
    if "%" not in said:
        for word, code in _DATE_WORDS.items():
            pattern = pattern.replace(word, code)
    try:
        sample = date(2024, 2, 29)
        sure = datetime.strptime(sample.strftime(pattern), pattern).date() == sample  # noqa: DTZ007 - only its date is used
    except ValueError:
        sure = False
    if not sure:
        message = f"--date-format {said!r} does not fix day, month and year; write it like DD/MM/YYYY"
        raise CastError(message)
    return pattern


def _choice(kind: Kind, _reading: Reading) -> Cast:
    allowed = frozenset(kind.values)

    def one(raw: Any) -> str:
        value = str(raw) if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
        if value in allowed or (value and not allowed):
            return value
        raise CastError(_not_among(value, kind.values))

    return one


def _not_among(value: str, values: Sequence[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a fault

    near = get_close_matches(value.lower(), [candidate.lower() for candidate in values], n=1)
    hint = next((f"; did you mean {candidate}?" for candidate in values if near and candidate.lower() == near[0]), "")
    return f"expected one of {', '.join(values)}{hint}"


def _tags(kind: Kind, _reading: Reading) -> Cast:
    allowed = frozenset(kind.values)

    def one(raw: Any) -> str:
        tags = {tag.strip() for tag in _tag_list(raw)} - {""}
        for tag in sorted(tags - allowed if allowed else ()):
            message = f"{tag!r}: {_not_among(tag, kind.values)}"
            raise CastError(message)
        return json.dumps(sorted(tags), ensure_ascii=False)

    return one


def _tag_list(raw: Any) -> list[str]:
    if isinstance(raw, str) and raw.startswith("["):
        try:
            raw = json.loads(raw)
        except ValueError:
            raw = None
    if isinstance(raw, str):
        return re.split("[,;|]", raw)
    if isinstance(raw, list) and all(isinstance(tag, str) for tag in raw):
        return raw
    message = "expected tags, like cookbooks,toys or a JSON list of texts"
    raise CastError(message)


def _email(_kind: Kind, _reading: Reading) -> Cast:
    def one(raw: Any) -> str:
        if not isinstance(raw, str):
            message = "expected an e-mail address"
            raise CastError(message)
        plain = _PLAIN_EMAIL.fullmatch(raw)
        if plain and "--" not in raw and not plain[1].lower().endswith(_SPECIAL_DOMAINS):
            local, _, domain = raw.partition("@")
            return f"{local}@{domain.lower()}"
        return _checked_email(raw)

    return one


def _checked_email(raw: str) -> str:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - 60 ms, and most addresses are plain

    try:
        # `.test` is reserved for tests, and people do test.
        return validate_email(raw, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        message = f"expected an e-mail address: {str(error)[:1].lower()}{str(error)[1:].rstrip('.')}"
        raise CastError(message) from None


def _phone(_kind: Kind, reading: Reading) -> Cast:
    def one(raw: Any) -> str:
        return phone(raw, reading.region)

    return one


def phone(raw: Any, region: str | None) -> str:
    """E.164 of a phone number; without a prefix it is one of `region` (ISO 3166-1 alpha-2).

    Raises:
        CastError: no such number can exist.
    """
    import phonenumbers  # noqa: PLC0415 - 24 ms, only where there are phone numbers

    text = str(raw).strip()
    if text.startswith("00"):
        text = "+" + text[2:]
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        where = f" or a number of {region}" if region else "; --region FR reads numbers without a prefix"
        message = f"expected a phone number like +33612345678{where}"
        raise CastError(message)
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _language(_kind: Kind, _reading: Reading) -> Cast:
    def one(raw: Any) -> str:
        found = _LANGUAGE.fullmatch(raw) if isinstance(raw, str) else None
        if found is None:
            message = "expected a language code, like fr or fr-BE"
            raise CastError(message)
        parts = found[2].replace("_", "-").split("-")
        return found[1].lower() + "-".join(part.upper() if len(part) == 2 else part for part in parts)  # noqa: PLR2004 - a region's length

    return one


def _timezone(_kind: Kind, _reading: Reading) -> Cast:
    def one(raw: Any) -> str:
        if not isinstance(raw, str) or not is_zone(raw):
            message = "expected an IANA time zone, like Europe/Paris"
            raise CastError(message)
        return raw

    return one


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _country(_kind: Kind, _reading: Reading) -> Cast:
    from flowctl.store.zones import countries  # noqa: PLC0415 - reads a file

    known = countries()

    def one(raw: Any) -> str:
        code = raw.upper() if isinstance(raw, str) else ""
        if code not in known:
            message = "expected a country code of two letters (ISO 3166-1), like FR"
            raise CastError(message)
        return code

    return one


_MAKERS: Mapping[str, Callable[[Kind, Reading], Cast]] = {
    "text": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "choice": _choice,
    "tags": _tags,
    "email": _email,
    "phone": _phone,
    "language": _language,
    "timezone": _timezone,
    "country": _country,
}
