"""A person of whom every table of the store holds something, each text with a mark of its own."""

import json

from flowctl.store.database import transaction
from flowctl.store.suppressions import suppress

# What each table bound to a contact says of them: one row a table. A table that is not here fails the tests.
ROWS = {
    "contacts": {"id": "{id}", "key": "~key", "email": "~mail@example.com", "phone": "~phone", "language": "~fr", "timezone": "~tz",
                 "country": "~co", "owner": "~owner", "created_at": 1, "_seed": 1, "_origin": 0},
    "consents": {"channel": "email", "purpose": "topic:~topic", "granted": 0, "at": 1, "source": "~consented"},
    "consent_log": {"channel": "email", "purpose": "topic:~logged", "granted": 0, "at": 1, "source": "~log"},
    "events": {"id": "{id}", "type": 1, "at": 1, "props": {"name": "~property"}, "dedupe": 5},
    "contact_changes": {"field": "email", "old": "~old@example.com", "new": "~new@example.com", "at": 1},
    "segment_members": {"segment_id": 1, "since": 1},
    "transitions": {"segment_id": 1, "entered": 1, "existing": 0, "at": 1},
    "enrollments": {"id": "{id}", "workflow": "w", "version_id": 1, "cause": "moment:~cause", "rkey": "~rkey", "trigger": {"a": "~trigger"},
                    "data": {"a": "~data"}, "entered_at": 1, "pc": 0, "at": 1, "state": 2, "reason": "~left", "ended_at": 2},
    "entries": {"workflow": "~w", "at": 1, "cause": "manual:~entry", "trigger": {"a": "~et"}, "data": {"a": "~ed"}, "step": "~step"},
    "marks": {"enrollment_id": "{id}", "step": "~mark", "at": 1},
    "turns": {"enrollment_id": "{id}", "pc": 1, "turn": 1, "started_at": 1},
    "secondary_goals": {"enrollment_id": "{id}", "name": "~goal", "at": 1},
    "journal": {"enrollment_id": "{id}", "version_id": 1, "pc": 0, "at": 1, "kind": 9, "detail": {"reason": "~reason"}},
    "outbox": {"id": "{id}", "enrollment_id": "{id}", "version_id": 1, "pc": 0, "visit": 0, "channel": 1, "message": 2,
               "recipient": "~to@example.com", "marketing": 0, "priority": 1, "arrived_at": 1, "expires_at": 2, "state": 5,
               "counted_at": 1, "settled_at": 1, "key": "~outboxkey", "reason": "~why", "reply": "550 <~reply@example.com>", "variant": "~arm"},
    "outbox_letters": {"outbox_id": "{id}", "letter": {"payload": {"text": "~letter"}}},
    "message_costs": {"outbox_id": "{id}", "segments": 1, "micros": 5, "currency": "~eur"},
    "message_events": {"message": 2, "status": 3, "at": 1, "outbox_id": "{id}", "enrollment_id": "{id}", "channel": 1, "link": "~link",
                       "detail": {"said": "~said"}},
    "records": {"id": "{id}", "kind": "~kind", "key": "~record", "cause": "step:1:2:3", "record_values": {"a": "~value"}, "at": 1},
    "record_pushes": {"record_id": "{id}", "state": 2, "settled_at": 1, "reply": "~pushed"},
    "tasks": {"enrollment_id": "{id}", "version_id": 1, "pc": 0, "at": 1, "until_at": 2, "team": "~team", "step": "~tstep",
              "title": "~title", "outcomes": ["~outcome"], "outcome": "~outcome", "done_at": 1},
    "audience_members": {"audience": "~audience", "since": 1},
    "notices": {"enrollment_id": "{id}", "version_id": 1, "pc": 0, "at": 1, "team": "~nteam", "owner": "~nowner", "recipient": "~nto",
                "text": "~notice", "state": 2, "settled_at": 1, "reply": "~nreply"},
    "fetches": {"enrollment_id": "{id}", "version_id": 1, "pc": 0, "at": 1, "service": "~service", "path": "/~path", "save_as": "~saved",
                "state": 2, "settled_at": 1, "reason": "~freason"},
    "score_ledger": {"score": "~score", "rule": "~rule", "points": 1.0, "at": 1, "cause": "~scause"},
    "survey_answers": {"survey": "~survey", "at": 1, "answers": {"q": "~answer"}},
    "coupons": {"name": "spring", "code": "~coupon", "given_at": 1},
    "inbox": {"channel": "~inapp", "key": "~inboxkey", "content": {"text": "~inbox"}, "at": 1},
}  # fmt: skip
# Whose rows hang on an enrollment, a message or a record rather than on the contact itself.
WITHOUT_CONTACT = {"contacts", "marks", "turns", "secondary_goals", "outbox_letters"}


def put(store, contact_id, mark):
    """Fill every table; `~word` becomes the mark and the word. Returns all texts that were stored."""
    connection = store.connection
    texts: set[str] = set()

    def marked(value):
        if isinstance(value, str):
            if value == "{id}":
                return contact_id
            if "~" in value:
                value = value.replace("~", mark)
                texts.add(value)
            return value
        if isinstance(value, list):
            return [marked(each) for each in value]
        return {key: marked(each) for key, each in value.items()} if isinstance(value, dict) else value

    with transaction(connection):
        connection.execute("INSERT OR IGNORE INTO event_types (id, name) VALUES (1, 'bought')")
        connection.execute("INSERT OR IGNORE INTO segments (id, name, definition) VALUES (1, 'vip', '')")
        connection.execute(
            "INSERT OR IGNORE INTO names (id, kind, name) VALUES (1, 'channel', 'email'), (2, 'message', 'hello')"
        )
        connection.execute(
            'INSERT OR IGNORE INTO releases (id, applied_at, "commit", digest, files, runtime, compiler) '
            "VALUES (1, 1, 'c', 'd', '{}', '{}', 1)"
        )
        connection.execute("INSERT OR IGNORE INTO workflow_versions VALUES (1, 'w', 1, 1, 'd', 'w.yaml', '{}')")
        for table, said in ROWS.items():
            row = {} if table in WITHOUT_CONTACT else {"contact_id": contact_id}
            row |= {column: marked(value) for column, value in said.items()}
            row = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}
            columns, marks = ", ".join(row), ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))
        for address in (f"{mark}mail@example.com", f"{mark}old@example.com"):
            suppress(
                connection, "email", [address], reason="bounced", source=f"550 5.1.1 <{address}> unknown", at=1, now=1
            )
    return texts | {f"{mark}mail@example.com"}
