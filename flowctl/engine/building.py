"""Builds the letters of claimed messages: reads what they are made from, a batch at a time, and has them composed."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from flowctl.engine.attachments import kept
from flowctl.engine.claims import unpacked
from flowctl.engine.contact import Fields, columns_of
from flowctl.engine.letters import Letters, Refused, read
from flowctl.engine.links import Links
from flowctl.engine.processes import processes_wanted
from flowctl.failure import Failure
from flowctl.store import coupons
from flowctl.store.database import fetched

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flowctl.channels.channel import Letter
    from flowctl.engine.claims import Claim
    from flowctl.engine.dkim import Signers
    from flowctl.engine.letters import Called, Case
    from flowctl.engine.renderers import Job, Renderers
    from flowctl.engine.runtime import Runtime
    from flowctl.store.database import Store

BATCH_ROWS = 200  # read at once; what lies ready before a connection takes it
# In the order of the enrollments' ids, one row each.
_MADE_FROM = (
    "SELECT {columns}, z.name, e.trigger, e.data FROM json_each(?) j CROSS JOIN enrollments e ON e.id = j.value "
    "CROSS JOIN contacts c ON c.id = e.contact_id LEFT JOIN zones z ON z.id = c._zone"
)


class Builder:
    """Makes letters of claims; one a delivery."""

    def __init__(self, store: Store, runtime: Runtime, channels: object) -> None:
        """`channels` says who signs, where it is a release's: those of a test or a simulation have no keys."""
        self._connection = store.connection
        self._said = runtime.said
        self._channels = channels
        self._secret = store.secret
        self._fields = Fields(runtime.said["fields"])
        self._plain = frozenset(name for name, said in runtime.said["messages"].items() if not said.get("attaches"))
        self._made_from = _MADE_FROM.format(columns=columns_of(store.connection, runtime.said["fields"]))
        self._letters: Letters | None = None
        self._renderers: Renderers | None = None

    def begin(self) -> None:
        """Start the processes that render, where channels are a release's: what a test or a simulation sends is built here."""
        if hasattr(type(self._channels), "signers") and (renderers := self._processes()) is not None:
            renderers.start()

    def close(self) -> None:
        """End the processes that rendered, where there were any."""
        if self._renderers is not None:
            self._renderers.close()
            self._renderers = None

    def give_codes(self, claims: Iterable[Claim], *, now: int) -> None:
        """Codes are the contacts' before a letter that shows them is built: no code can leave twice. `now` is UTC ms."""
        calling = {message: said["coupons"] for message, said in self._said["messages"].items() if said.get("coupons")}
        wanted: dict[str, list[int]] = {}
        for claim in claims if calling else ():
            for name in calling.get(claim.message, ()):
                wanted.setdefault(name, []).append(claim.contact_id)
        for name, contacts in wanted.items():
            coupons.give(self._connection, name, contacts, now=now)

    def is_plain(self, claim: Claim) -> bool:
        """Whether its letter can be built anywhere: nothing is attached, no earlier attempt is to be repeated."""
        return claim.message in self._plain and not claim.doubts

    def letters(self, claims: Iterable[Claim], *, many: bool = False) -> Iterator[tuple[Claim, Letter | Refused]]:
        """Each claim with its letter, little by little; or with the reason why there is none.

        `many` are rendered by processes of their own. What is not plain is then held in memory to the end.
        """
        renderers = self._processes() if many else None
        return self._one_by_one(claims) if renderers is None else self._by_processes(claims, renderers)

    def _one_by_one(self, claims: Iterable[Claim]) -> Iterator[tuple[Claim, Letter | Refused]]:
        waiting = iter(claims)
        while batch := list(islice(waiting, BATCH_ROWS)):
            some = list(self._batch(batch))
            read([case for _, case in some if isinstance(case, dict)], self._fields)
            yield from self._built(some)

    def _by_processes(self, claims: Iterable[Claim], renderers: Renderers) -> Iterator[tuple[Claim, Letter | Refused]]:
        """What needs no process (kept letters, refusals) or must not leave this one (attachments) is built here, at the end."""
        here: list[tuple[Claim, Case | Letter | Refused]] = []

        def jobs() -> Iterator[Job]:
            for claim, case in self._cases(claims):
                if isinstance(case, dict) and self.is_plain(claim):
                    yield claim, claim.message, case
                else:
                    here.append((claim, case))

        yield from renderers.letters(jobs(), self._here, at_once=self._own().at_once)
        read([case for _, case in here if isinstance(case, dict)], self._fields)
        yield from self._built(here)

    def _here(self, jobs: list[Job]) -> list[Letter | Refused]:
        read([case for _, _, case in jobs], self._fields)
        return self._own().build_all([(self._said["messages"][message], case) for _, message, case in jobs])

    def _processes(self) -> Renderers | None:
        if self._renderers is not None:
            return self._renderers
        count = processes_wanted() - 1
        if count > 0:
            signers = self._signers()
            from flowctl.engine.renderers import Renderers  # noqa: PLC0415 - only where many messages wait

            said = {
                "messages": self._said["messages"],
                "fields": self._said["fields"],
                "secret": self._secret,
                "public_url": self._said["public_url"],
                "keys": signers.keys if signers else {},
            }
            self._renderers = Renderers(said, count)
        return self._renderers

    def _signers(self) -> Signers | None:
        try:
            signers: Signers | None = getattr(self._channels, "signers", None)
        except Failure:  # e-mail itself is refused for it; what leaves by other channels needs no key
            signers = None
        return signers

    def _built(self, some: Sequence[tuple[Claim, Case | Letter | Refused]]) -> Iterator[tuple[Claim, Letter | Refused]]:
        """Claims whose cases are read, with their letters, built some at once."""
        letters, messages = self._own(), self._said["messages"]
        for start in range(0, len(some), letters.at_once):
            group = some[start : start + letters.at_once]
            cases = [(messages[claim.message], case) for claim, case in group if isinstance(case, dict)]
            made = iter(letters.build_all(cases))
            for claim, case in group:
                yield claim, next(made) if isinstance(case, dict) else case

    def _own(self) -> Letters:
        """Those that this process builds itself."""
        if self._letters is None:
            public_url = self._said["public_url"]
            links = Links(secret=self._secret, public_url=public_url) if public_url else None
            self._letters = Letters(links, files=kept(self._connection), signers=self._signers())
        return self._letters

    def _cases(self, claims: Iterable[Claim]) -> Iterator[tuple[Claim, Case | Letter | Refused]]:
        """What each letter is made from, yet to be `read`; those kept from an attempt that may have left are the letters themselves."""
        waiting = iter(claims)
        while batch := list(islice(waiting, BATCH_ROWS)):
            yield from self._batch(batch)

    def _batch(self, claims: list[Claim]) -> Iterator[tuple[Claim, Case | Letter | Refused]]:
        enrollments = json.dumps([claim.enrollment_id for claim in claims])
        rows = fetched(self._connection, self._made_from, (enrollments,))
        messages, home = self._said["messages"], self._said["timezone"]
        for claim, row in zip(claims, rows, strict=True):
            message = messages.get(claim.message)
            if claim.doubts and (letter := self._kept(claim)) is not None:
                yield claim, letter
            elif message is None:
                yield claim, Refused(reason=f"message {claim.message} is gone")
            else:
                case: Case = {
                    "channel": claim.channel,
                    "recipient": claim.recipient,
                    "key": claim.key,
                    "now": claim.counted_at,
                    "contact": row[:-3],
                    "zone": row[-3] or home,
                    "trigger": row[-2],
                    "data": row[-1],
                    "variant": claim.variant,
                }
                if message.get("coupons") or message.get("events"):
                    case = {**case, **called(self._connection, message, claim.contact_id, claim.counted_at)}
                yield claim, case

    def _kept(self, claim: Claim) -> Letter | None:
        """The letter of an earlier attempt that may have left: a resend is the same to the byte."""
        row = self._connection.execute("SELECT letter FROM outbox_letters WHERE outbox_id = ?", (claim.id,)).fetchone()
        return unpacked(row[0]) if row else None


def called(connection: sqlite3.Connection, message: Mapping[str, Any], contact_id: int, now: int) -> Called:
    """What the templates of a message call for: the contact's codes and newest events, up to `now` (UTC ms)."""
    said: Called = {}
    if message.get("coupons"):
        said["coupons"] = coupons.of(connection, contact_id)
    if message.get("events"):
        from flowctl.store.events import newest  # noqa: PLC0415 - it brings casting, which few ticks need

        said["events"] = {
            name: newest(connection, contact_id, name, count, until=now) for name, count in message["events"].items()
        }
    return said
