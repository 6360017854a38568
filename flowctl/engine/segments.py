"""What a release stores of a segment: its SQL, and the probes that tell whose membership may have changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ProbeKind = Literal[
    "created", "event", "changed", "status", "transition", "enrollment", "window", "status_window", "day", "slot", "moment"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One way in which the answer of a condition can change.

    created        a new contact
    event          `ids`: event types of which something new came
    changed        `names`: contact fields (also `consent.CHANNEL`, `suppressed.CHANNEL`)
    status         `ids`: messages (none: any), `codes`: statuses
    transition     `ids`: segments
    enrollment     `names`: workflows that somebody entered or left
    window         `ids`: one event type; `edge_ms`: an event changes the answer when it gets so old
    status_window  as `window`, for `ids` and `codes` of message statuses
    day            `sql`: true for a contact `c` whose answer a new local date changes, from `z.was` to `z.today`
    slot           `sql`: true for a zone whose answer a moved clock changes, from `o` to `z`
    moment         `names`: one datetime field; the answer changes `edge_ms` after its value
    """

    kind: ProbeKind
    ids: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    edge_ms: int = 0
    zone: int = 0  # of contacts that have none: for day and slot
    sql: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON types, without what is empty."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items() if value
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Probe:
        """The opposite of `to_json`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
        }
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentPlan:
    """A segment, ready to be judged. A segment that asks about another has a higher `order`."""

    id: int
    name: str
    check: str  # boolean SQL on one contact `c`
    full: str  # `SELECT c.id …`: everybody who is in
    probes: tuple[Probe, ...]
    order: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        probes = [probe.to_json() for probe in self.probes]
        return {
            "id": self.id,
            "name": self.name,
            "check": self.check,
            "full": self.full,
            "probes": probes,
            "order": self.order,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> SegmentPlan:
        """The opposite of `to_json`."""
        return cls(**{**said, "probes": tuple(Probe.from_json(probe) for probe in said["probes"])})


def merged(probes: Iterable[Probe]) -> list[Probe]:
    """The same probes with those of one kind put together and none twice, in a stable order."""
    together: dict[tuple[Any, ...], Probe] = {}
    for probe in probes:
        mergeable = probe.kind in ("event", "transition", "changed", "enrollment")
        key = (probe.kind,) if mergeable else (probe,)
        before = together.get(key)
        if before is not None and mergeable:
            ids, names = {*before.ids, *probe.ids}, {*before.names, *probe.names}
            together[key] = Probe(kind=probe.kind, ids=tuple(sorted(ids)), names=tuple(sorted(names)))
        elif before is None:
            together[key] = probe
    return list(together.values())
