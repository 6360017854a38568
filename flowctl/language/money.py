"""What a message costs: an amount and its currency, for all countries or one by one."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

_MONEY = re.compile(r"\s*(\d{1,6}(?:[.,]\d{1,6})?)\s*([A-Z]{3})\s*")
_COUNTRY = re.compile(r"[A-Z]{2}|default")
MICROS = 1_000_000


class Money(NamedTuple):
    """Millionths of a currency's unit: exact, and additive."""

    micros: int
    currency: str  # ISO 4217


def money(text: str) -> Money:
    """An amount such as `0.045 EUR`.

    Raises:
        ValueError: it is none.
    """
    found = _MONEY.fullmatch(text)
    if not found:
        message = f"{text!r} is no amount; write it like 0.045 EUR"
        raise ValueError(message)
    whole, _, part = found[1].replace(",", ".").partition(".")
    return Money(int(whole) * MICROS + int(part.ljust(6, "0") or 0), found[2])


def _cost(value: Any) -> dict[str, str]:
    said = value if isinstance(value, dict) else {"default": value}
    for country, amount in said.items():
        if not _COUNTRY.fullmatch(str(country)):
            message = f"{str(country)!r} is no country; write its two letters in capitals, such as FR, or default"
            raise ValueError(message)
        money(str(amount))
    if len({money(str(amount)).currency for amount in said.values()}) > 1:
        message = "a channel's costs are in one currency"
        raise ValueError(message)
    return {str(country): str(amount) for country, amount in said.items()}


Cost = Annotated[
    dict[str, str],
    BeforeValidator(_cost, json_schema_input_type=dict[str, str] | str),
    Field(
        description="of one message, or one segment of an SMS: an amount, or one a country of the number",
        examples=["0.045 EUR", {"FR": "0.045 EUR", "default": "0.08 EUR"}],
    ),
]
