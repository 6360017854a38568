"""Random whole projects over every step kind, trigger, policy and goal; and random histories of a few contacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.engine.world import HOUR, MINUTE, SETTINGS, T0

if TYPE_CHECKING:
    from tests.engine.world import World

SHOP = (
    SETTINGS
    + """
teams: {sales: {members: [lea, tom], email: sales@example.com}}
records: {opportunity: {fields: {title: text, value: number}}}
services: {api: {url: "https://api.example.com"}}
"""
)
SEGMENTS = """
segments:
  keen: {match: {event: cart_updated, since: 3h, count: {gte: 2}}}
  idle: {match: {all: [{event: purchase, since: ever}, {not: {event: purchase, since: 4h}}]}}
  marked: {match: {any: [{field: visits, gte: 2}, {field: stage, in: [customer, loyal]}]}}
  both: {match: {all: [{segment: keen}, {not: {segment: marked}}]}}
  early: {match: {all: [{time: {days: mon-sun, between: ["06:00", "12:00"]}}, {event: signup, since: 1d}]}}
"""
NAMES = ("alpha", "beta", "gamma")
KEYS = ("ana", "bob", "cleo")
SPANS = st.sampled_from(["10m", "25m", "1h", "90m", "3h", "5h", "1d"])
LONG = st.sampled_from(["1h", "2h", "6h", "1d"])
_EVENTS = st.one_of(
    st.just({"event": "purchase"}),
    st.builds(lambda least: {"event": "purchase", "where": {"amount": {"gte": least}}}, st.sampled_from([5, 50])),
    st.builds(lambda items: {"event": "cart_updated", "where": {"items": items}}, st.sampled_from([0, 1, {"gt": 1}])),
    st.just({"event": "signup"}),
)
_STATES = st.sampled_from(
    [
        {"field": "visits", "gte": 2},
        {"field": "visits", "known": False},
        {"field": "stage", "is_not": "customer"},
        {"field": "interests", "has": "toys"},
        {"field": "engagement", "between": [1, 3]},
        {"segment": "keen"},
        {"segment": "marked"},
        {"segment": "idle"},
        {"segment": "both"},
    ]
)  # fmt: skip
_SINCE = st.sampled_from(["1h", "4h", "ever", "entry"])


def _leaves(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        _STATES,
        st.builds(lambda event, since: {**event, "since": since}, _EVENTS, _SINCE),
        st.builds(
            lambda since, least: {"event": "cart_updated", "since": since, "count": {"gte": least}},
            _SINCE,
            st.sampled_from([1, 2, 3]),
        ),
        st.builds(
            lambda since, most: {"event": "purchase", "since": since, "sum": {"amount": {"lt": most}}},
            _SINCE,
            st.sampled_from([20, 100]),
        ),
        st.sampled_from(
            [
                {"reachable": "email"},
                {"reachable": "sms"},
                {"time": {"days": "mon-fri", "between": ["09:00", "18:00"]}},
                {"trigger": {"items": {"gt": 0}}},
                {"message": "hello", "status": "sent"},
                {"message": "any", "status": "clicked", "since": "1d"},
                {"data": {"reco.count": {"gte": 1}}},
            ]
        ),
        st.builds(
            lambda name, state: {"workflow": name, "state": state},
            st.sampled_from(names),
            st.sampled_from(["active", "completed", "exited", "never"]),
        ),
    )


def conditions(names: tuple[str, ...] = NAMES) -> st.SearchStrategy[dict[str, Any]]:
    """A tree of leaves that may stand in a workflow's `if`."""
    return st.recursive(
        _leaves(names),
        lambda inner: st.one_of(
            st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda part: {"not": part}, inner),
        ),
        max_leaves=4,
    )


def _plain_steps(*, sends: bool, later: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Steps that contain no others."""
    kinds = [
        st.builds(lambda span: {"wait": span}, SPANS),
        st.builds(lambda span: {"wait": span, "time": "09:00"}, SPANS),
        st.just({"wait": {"between": ["10m", "50m"]}}),
        st.sampled_from(
            [
                {"wait_until": {"date": "2026-03-02T15:00"}},
                {"wait_until": {"slot": {"days": "mon-fri", "between": ["13:00", "16:30"]}}},
                {"wait_until": {"from": "contact.due_date", "minus": "1d", "time": "09:00", "on_missing": "continue", "on_past": "continue"}},
                {"wait_until": {"best_time": {"channel": "email", "within": "6h"}}},
                {"set": {"stage": "customer"}},
                {"set": {"stage": "loyal", "visits": 1}},
                {"add": {"engagement": 1}},
                {"add": {"visits": 1}},
                {"tag": {"interests": ["toys"]}},
                {"untag": {"interests": ["toys"]}},
                {"consent": {"withdraw": "sms", "source": "journey"}},
                {"consent": {"grant": "sms", "source": "journey"}},
                {"assign": {"team": "sales", "by": "hash"}},
                {"create": {"record": "opportunity", "key": "trigger.cart_id", "values": {"title": "New"}}},
                {"notify": {"team": "sales"}, "text": "Look at {{ contact.key }}"},
                {"fetch": {"service": "api", "path": "/reco/{{ contact.key }}", "save_as": "reco", "on_error": "continue"}},
                {"advertise": {"add": "lookalike"}},
                {"advertise": {"remove": "lookalike"}},
                {"exit": "enough"},
            ]
        ),
    ]  # fmt: skip
    if later:
        kinds.append(st.builds(lambda name: {"start": {"workflow": name}}, st.sampled_from(later)))
        kinds.append(st.builds(lambda name: {"stop": name}, st.sampled_from(later)))
    if sends:
        kinds.append(
            st.builds(
                lambda message, more: {"send": message, **more},
                st.sampled_from(["hello", "bye", "again", "receipt"]),
                st.sampled_from([{}, {"via": "email"}, {"on_skip": "exit"}, {"expire_after": "3h"}, {"when": {"field": "visits", "known": True}}]),
            )
        )  # fmt: skip
        kinds.append(st.just({"send": "hello", "via": {"all": ["email", "sms"]}}))
    return st.one_of(*kinds)


def steps(*, sends: bool, names: tuple[str, ...] = NAMES, later: tuple[str, ...] = ()) -> st.SearchStrategy[list[Any]]:
    """A list of steps, with choices and waits inside each other."""

    def around(inner: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
        asked = conditions(names)
        step = st.one_of(
            st.builds(lambda c, a, b: {"if": c, "then": a, "else": b}, asked, inner, inner),
            st.builds(
                lambda one, a, other, b, c: {"choose": [{"when": one, "do": a}, {"when": other, "do": b}], "otherwise": c},
                asked, inner, asked, inner, inner,
            ),
            st.builds(lambda a, b: {"split": {"a": 30, "b": 70}, "paths": {"a": a, "b": b}}, inner, inner),
            st.builds(
                lambda leaf, timeout, a, b: {"wait_for": leaf, "timeout": timeout, "then": a, "on_timeout": b},
                st.one_of(_EVENTS, _STATES), SPANS, inner, inner,
            ),
            st.builds(
                lambda c, every, most, body: {"repeat": {"every": every, "while": c, "max": most}, "steps": body or [{"wait": "5m"}]},
                asked, st.one_of(LONG, st.just(["30m", "2h"])), st.integers(1, 4), inner,
            ),
            st.builds(
                lambda a, b: {"task": {"team": "sales", "title": "Call", "timeout": "2h", "outcomes": ["called"]}, "then": a, "on_timeout": b},
                inner, inner,
            ),
        )  # fmt: skip
        return st.lists(st.one_of(_plain_steps(sends=sends, later=later), step), min_size=1, max_size=3)

    return st.recursive(st.lists(_plain_steps(sends=sends, later=later), min_size=1, max_size=3), around, max_leaves=4)


def triggers(*, sends: bool) -> st.SearchStrategy[dict[str, Any]]:
    """One way in; a moment and a schedule ask everybody, so they need the audience that every workflow here has."""
    kinds = [
        _EVENTS,
        st.builds(lambda event: {**event, "unless": {"event": "purchase", "within": "1h"}}, _EVENTS),
        st.sampled_from(
            [
                {"enters": "keen"},
                {"enters": "both"},
                {"exits": "idle"},
                {"enters": "marked", "existing": "enroll"},
                {"field": "visits", "changes": True},
                {"field": "visits", "rises_to": 2},
                {"field": "stage", "to": "customer"},
                {"date": "due_date", "time": "15:00"},
                {"moment": "2026-03-02T14:00"},
                {"schedule": "20 */3 * * *"},
                {"record": "opportunity", "created": True},
                {"manual": True},
            ]
        ),
    ]
    if sends:
        kinds.append(st.just({"message": "hello", "status": "clicked"}))
    return st.one_of(*kinds)


@st.composite
def workflows(draw: st.DrawFn, name: str, *, sends: bool) -> dict[str, Any]:
    """A workflow; it starts only those that come after it, so that no cycle is free of time."""
    later = NAMES[NAMES.index(name) + 1 :]
    said: dict[str, Any] = {
        "workflow": name,
        "triggers": draw(st.lists(triggers(sends=sends), min_size=1, max_size=2)),
        "audience": draw(st.sampled_from([{"field": "engagement", "lt": 9}, {"not": {"segment": "early"}}])),
        "reentry": {
            "after": draw(st.sampled_from(["never", "1h", "30m", "1d"])),
            "since": draw(st.sampled_from(["exit", "entry"])),
            "while_active": draw(st.sampled_from(["ignore", "restart", "parallel"])),
            **draw(st.sampled_from([{}, {"key": "trigger.cart_id"}])),
        },
    }
    if draw(st.booleans()):
        goal = draw(st.one_of(_EVENTS, _STATES))
        said["goal"] = {**goal, **draw(st.sampled_from([{}, {"within": "5h"}, {"ends": False}]))}
        if said["goal"].get("ends", True) and draw(st.booleans()):
            said["on_goal"] = draw(steps(sends=sends, later=()))
    if draw(st.booleans()):
        said["exit_when"] = draw(st.lists(st.one_of(_EVENTS, _STATES), min_size=1, max_size=2))
    if draw(st.booleans()):
        said["secondary_goals"] = {"found": draw(st.one_of(_EVENTS, _STATES))}
    said |= draw(
        st.sampled_from(
            [{}, {}, {"leave_when_outside": True}, {"exclusive_group": "one", "priority": 40 + 10 * NAMES.index(name)}, {"active": {"until": "2026-03-02"}}]
        )
    )  # fmt: skip
    said["steps"] = draw(steps(sends=sends, later=later))
    if "trigger" in json.dumps({**said, "triggers": []}).replace(
        '"triggers"', ""
    ):  # its values must come from somewhere
        said["triggers"].append({"event": "cart_updated"})
    return said


@st.composite
def projects(draw: st.DrawFn, *, sends: bool) -> list[str]:
    """Segments and two or three workflows, as the texts of files; flow YAML is JSON."""
    count = draw(st.integers(2, 3))
    every = [draw(workflows(name, sends=sends)) for name in NAMES[:count]]
    texts = [json.dumps(said) for said in every]
    # What may be named is there.
    rest = ({"workflow": name, "triggers": [{"manual": True}], "steps": [{"wait": "40m"}]} for name in NAMES[count:])
    return [SEGMENTS, *texts, *map(json.dumps, rest)]


Fact = tuple[int, str, str, dict[str, Any]]


@st.composite
def histories(draw: st.DrawFn, *, hours: int = 14, changes: bool = False) -> list[Fact]:
    """Facts as (time, contact, event or field, properties), in order of arrival: often at one instant, sometimes out of order."""
    kinds = (
        ["cart_updated"] * 4
        + ["purchase", "purchase", "signup", "signup"]
        + (["visits", "stage", "due_date"] if changes else [])
    )
    values = {
        "cart_updated": st.fixed_dictionaries({"items": st.integers(0, 2), "cart_id": st.sampled_from(["a", "b"])}),
        "purchase": st.fixed_dictionaries({"amount": st.sampled_from([10, 60])}),
        "signup": st.just({}),
        "visits": st.fixed_dictionaries({"visits": st.integers(0, 3)}),
        "due_date": st.fixed_dictionaries(
            {"due_date": st.sampled_from([None, "2026-03-01", "2026-03-03", "2026-03-04"])}
        ),
        "stage": st.fixed_dictionaries({"stage": st.sampled_from(["lead", "customer", "loyal"])}),
    }
    found: list[Fact] = []
    when = 0
    for _ in range(draw(st.integers(3, 18))):
        when = min(
            when + draw(st.sampled_from([0, 0, 1, 5 * MINUTE, 7 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR])), hours * HOUR
        )
        late = draw(st.sampled_from([0, 0, 0, 0, 20 * MINUTE]))
        kind = draw(st.sampled_from(kinds))
        found.append((T0 + 1 + max(0, when - late), draw(st.sampled_from(KEYS)), kind, draw(values[kind])))
    return found


def store(world: World, fact: Fact) -> None:
    """Write one fact down."""
    when, key, kind, said = fact
    if kind in said:
        world.set(key, when, **said)
    else:
        world.event(key, kind, when, **said)


def people(world: World) -> None:
    """Three contacts in three zones, one of them without a phone."""
    world.contact("ana", phone="+33600000001", due_date="2026-03-03")
    world.contact("bob", phone="+14155550101", timezone="America/New_York", due_date="2026-03-02")
    world.contact("cleo", timezone="Asia/Kolkata", consent=("email",))
