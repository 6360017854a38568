"""From a message's snapshot and a contact to a letter, or to the reason why there is none.

The same arguments make the same bytes, on any machine and at any attempt: `now` is the time of the first attempt, kept
with the outbox row, and links carry no time of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowctl.channels.channel import Letter
    from flowctl.engine.composing import Composer
    from flowctl.engine.contact import Fields
    from flowctl.engine.dkim import Signers
    from flowctl.engine.links import Links


AT_ONCE = 8  # less than a millisecond
SIGNED_AT_ONCE = 16  # measured: a twentieth less than one by one
TOO_MUCH_MEMORY = "it takes more memory than a message may"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A letter that cannot be made; the reason is for the journal and `explain`."""

    reason: str


class Called(TypedDict, total=False):
    """What templates call for, fetched before: `coupon("NAME")` and `events.last("NAME", N)`."""

    coupons: Mapping[str, str]  # the contact's codes, by name
    events: Mapping[str, list[dict[str, Any]]]  # its newest ones, by name, the newest first


class Case(Called):
    """What one letter is made from, besides its message."""

    channel: str
    recipient: str
    key: str  # idempotency key: the Message-ID and the links derive from it
    now: int  # of the first attempt, UTC milliseconds
    contact: (
        Any  # a mapping of every declared field, None where unknown, and `id`; as a row where it is yet to be `read`
    )
    zone: NotRequired[str]  # the contact's, for `{{ now }}`; UTC unless said
    trigger: NotRequired[Any]  # a mapping, or None; as JSON where it is yet to be `read`
    data: NotRequired[Any]  # the same
    inputs: NotRequired[Mapping[str, Any] | None]  # `input` in templates
    variant: NotRequired[str | None]


def read(cases: Sequence[Case], fields: Fields) -> None:
    """Take rows of contacts for the contacts, `trigger` and `data`, which are JSON as the store holds it or None, for what they say.

    And `inputs` from `data`.
    """
    for case, trigger, data in zip(
        cases, _parsed([case["trigger"] for case in cases]), _parsed([case["data"] for case in cases]), strict=True
    ):
        case["contact"] = fields.values(case["contact"])
        case["trigger"], case["data"] = trigger, data
        case["inputs"] = data.get("input") if data else None


def _parsed(texts: list[str | None]) -> list[Any]:
    """Many JSON texts at once: most of the cost of a short one is the call. Those that are alike have one value; no template can change it."""
    alike = dict.fromkeys(texts)
    values = dict(zip(alike, json.loads(f"[{','.join([text or 'null' for text in alike])}]"), strict=True))
    return [values[text] for text in texts]


def no_files(digest: str) -> bytes | None:  # noqa: ARG001 - the shape of those that have some
    """Where nothing can be attached."""
    return None


class Letters:
    """Makes letters. One a process or thread: it keeps the skeletons and compiled templates it has made."""

    def __init__(
        self, links: Links | None, *, files: Callable[[str], bytes | None] = no_files, signers: Signers | None = None
    ) -> None:
        self._links = links  # None: the project has no public_url
        self._files = files  # attached ones by digest
        self._signers = signers  # None: nothing is signed
        self._composer: Composer | None = None

    @property
    def at_once(self) -> int:
        """How many are best built at once: signing by RSA pushes building out of the processor's caches, and the other way round."""
        return AT_ONCE if self._signers is None else SIGNED_AT_ONCE

    def build(self, message: Mapping[str, Any], **case: Unpack[Case]) -> Letter | Refused:
        """One letter to one contact, by a snapshot of `templates.prepare`; never raises for what a row or template holds."""
        return self._signed(self._composed(message, case), case["now"])

    def build_all(self, cases: Sequence[tuple[Mapping[str, Any], Case]]) -> list[Letter | Refused]:
        """The same for many; each with its message."""
        made = [self._composed(message, case) for message, case in cases]
        if self._signers is None:
            return made
        return [self._signed(one, case["now"]) for one, (_, case) in zip(made, cases, strict=True)]

    def _composed(self, message: Mapping[str, Any], case: Case) -> Letter | Refused:
        if self._composer is None:
            from flowctl.engine.composing import Composer  # noqa: PLC0415 - 90 ms that a tick with nothing to send saves

            self._composer = Composer(self._links, files=self._files)
        try:
            return self._composer.build(message, **case)
        except MemoryError:
            return Refused(reason=TOO_MUCH_MEMORY)

    def _signed(self, made: Letter | Refused, now: int) -> Letter | Refused:
        if self._signers is None or isinstance(made, Refused) or not isinstance(made.payload, bytes):
            return made
        signer = self._signers.of(made.sender)
        return made if signer is None else made._replace(payload=signer.signed(made.payload, at=now))
