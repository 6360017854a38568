"""A small project with two journeys, and a store with contacts, for tests of simulations, reports and their commands."""

from flowctl.channels.recording import RecordingChannel
from flowctl.engine.apply import apply
from flowctl.engine.tick import tick
from flowctl.project.load import load
from flowctl.store import consents, contacts, events
from flowctl.store.database import open_store, transaction

NOW = 1_800_000_000_000  # 2027-01-15T08:00:00Z, a Friday
HOUR = 3_600_000
DAY = 24 * HOUR

FLOWCTL_YAML = """\
project: shop
timezone: Europe/Paris
languages: [en]
contacts:
  fields: {first_name: text, orders: {type: integer, default: 0}}
events:
  bought: {properties: {amount: number}}
  browsed: {}
senders: {shop: {name: Shop, email: shop@example.com, address: 1 Street}}
channels: {email: {adapter: smtp, host: localhost, port: 9, security: none}}
pressure: {email: [1 per 2d], on_cap: defer}
public_url: https://news.example.com
"""
THANKS_YAML = """\
workflow: thanks
description: Thanks.
owner: crm
type: follow-up
goal: {event: browsed, within: 30d}
triggers:
  - {event: bought}
reentry: {after: 1d}
steps:
  - add: {orders: 1}
  - id: pause
    wait: 1h
  - id: note
    send: thank-you
  - id: look
    wait_for: {event: browsed}
    timeout: 3d
    on_timeout:
      - {id: again, send: reminder}
"""
BIG_YAML = """\
workflow: big-spender
description: Big spenders.
owner: crm
type: follow-up
goal: {event: browsed, within: 30d}
triggers:
  - {event: bought, where: {amount: {gte: 100}}}
steps:
  - if: {field: orders, gte: 2}
    then:
      - {exit: known}
    else:
      - {id: gift, send: present}
"""
MESSAGES_YAML = """\
messages:
  thank-you: {topic: news, email: {from: shop, subject: Thanks, text: "Thanks. {{ unsubscribe_url }}"}}
  reminder: {topic: news, email: {from: shop, subject: Still there?, text: "Hello. {{ unsubscribe_url }}"}}
  present: {topic: news, expire_after: 1d, email: {from: shop, subject: A present, text: "For you. {{ unsubscribe_url }}"}}
"""
ASSUMPTIONS_YAML = """\
assumptions: lively
events:
  bought: {rate: 1 per 5d, properties: {amount: {between: [10, 150]}}}
responses:
  email: {opened: 0.5, clicked: 0.2, unsubscribed: 0.02, after: 2h}
  clicked: {then: browsed, chance: 0.8, within: 1d}
"""


def write_project(folder):
    """The project's files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "flowctl.yaml": FLOWCTL_YAML, "thanks.yaml": THANKS_YAML, "big.yaml": BIG_YAML, "messages.yaml": MESSAGES_YAML,
        "assumptions.yaml": ASSUMPTIONS_YAML,
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


class Shop:
    """A project on disk and its store, with `people` contacts who consent to e-mail; or one that `folder` holds already."""

    def __init__(self, folder, people=20):
        is_new = not (folder / "flowctl.db").exists()
        self.root = write_project(folder) if is_new else folder
        self.project = load(self.root)
        assert self.project.problems == ()
        self.store = open_store(folder / "flowctl.db", create=True)
        self.connection = self.store.connection
        self.channel = RecordingChannel()
        self.now = NOW
        if not is_new:
            (self.now,) = self.connection.execute("SELECT value FROM cursors WHERE name = 'tick'").fetchone()
            self.people = [
                contact_id for (contact_id,) in self.connection.execute("SELECT id FROM contacts ORDER BY id")
            ]
            return
        apply(self.store, self.project, commit="abc1234", now=NOW)
        with transaction(self.connection):
            self.people = [self._person(number) for number in range(people)]

    def _person(self, number):
        values = {
            "key": f"k{number}",
            "email": f"k{number}@example.com",
            "first_name": f"Name{number}",
            "created_at": NOW - DAY,
        }
        contact_id = contacts.create(self.connection, values, origin=contacts.IMPORTED, now=NOW - DAY)
        said = consents.Statement(contact_id=contact_id, channel="email", granted=True, at=NOW - DAY, source="test")
        consents.record(self.connection, [said], now=NOW - DAY)
        return contact_id

    def happens(self, event, contact_id, at, props="{}"):
        """An event."""
        with transaction(self.connection):
            self.connection.execute(
                "INSERT INTO events (contact_id, type, at, props) VALUES (?, ?, ?, ?)",
                (contact_id, events.type_id(self.connection, event), at, props),
            )

    def ticks(self, until, step=HOUR):
        """Ticks up to a time."""
        while self.now < until:
            self.now = min(until, self.now + step)
            tick(self.store, now=self.now, channels={"email": self.channel})
