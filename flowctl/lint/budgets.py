"""The measures of pressure: the caps of flowctl.yaml, and the budgets that stand in where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.language.times import Rate
from flowctl.lint.bounds import ALL, CHANNELS, SENDS_TOLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.settings import Settings

_PUSHY = ("1 per 24h", "3 per 7d")
BUDGETS: dict[str, tuple[Rate, ...]] = {
    channel: tuple(Rate.read(rate) for rate in rates)
    for channel, rates in {
        "email": ("1 per 16h", "3 per 7d", "8 per 30d"),
        "sms": _PUSHY,
        "push": _PUSHY,
        "web_push": _PUSHY,
        "whatsapp": _PUSHY,
        ALL: ("2 per 24h", "5 per 7d"),
    }.items()
}
NAMES = {
    "email": "e-mails",
    "sms": "SMS",
    "whatsapp": "WhatsApp messages",
    "push": "push messages",
    "web_push": "web push messages",
    ALL: "messages",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """What to compare: a channel or `all`, the channels it counts, its windows, and whether a cap enforces them."""

    name: str
    channels: tuple[str, ...]
    rates: tuple[Rate, ...]
    is_cap: bool
    told_max: int  # how far to count

    @property
    def noun(self) -> str:
        """What is counted: `e-mails`, `messages`."""
        return NAMES.get(self.name, f"{self.name} messages")

    @property
    def kind(self) -> str:
        """What the windows are: a cap, or the default budget."""
        return "cap" if self.is_cap else "default budget"

    @property
    def declared(self) -> str:
        """How to declare the windows as a cap in flowctl.yaml."""
        return f"`pressure: {{{self.name}: [{', '.join(map(str, self.rates))}]}}`"


def measures(settings: Settings, used: Sequence[str]) -> Iterator[Measure]:
    """The measures of what leaves on the channels used, in the language's order."""
    caps = settings.pressure
    all_caps = caps.all_ if caps else []
    uncapped: list[str] = []
    for channel in used:
        if caps and (rates := caps.of(channel)):
            yield _measure(channel, (channel,), tuple(rates), is_cap=True)
        elif not all_caps and channel in BUDGETS:
            uncapped.append(channel)
            yield _measure(channel, (channel,), BUDGETS[channel], is_cap=False)
    if all_caps:
        yield _measure(ALL, tuple(used), tuple(all_caps), is_cap=True)
    elif len(uncapped) > 1:
        yield _measure(ALL, tuple(uncapped), BUDGETS[ALL], is_cap=False)


def _measure(name: str, channels: tuple[str, ...], rates: tuple[Rate, ...], *, is_cap: bool) -> Measure:
    told_max = max(SENDS_TOLD, *(rate.count + 1 for rate in rates))
    return Measure(name=name, channels=channels, rates=rates, is_cap=is_cap, told_max=told_max)


def in_order(channels: set[str]) -> tuple[str, ...]:
    """Channels in the language's order."""
    return tuple(channel for channel in CHANNELS if channel in channels)
