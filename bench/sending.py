"""Messages a second through `flowctl tick`'s delivering, against Postfix's smtp-source to the same smtp-sink."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

import flowctl.cli  # noqa: F401 - how often garbage is collected is the command line's
from bench.ratio import Ratio
from flowctl.channels.channel import Letter
from flowctl.engine.adapters import channel_maker
from flowctl.engine.apply import apply
from flowctl.engine.deliver import Delivery
from flowctl.engine.letters import Letters
from flowctl.engine.links import Links
from flowctl.engine.runtime import Runtime, load
from flowctl.engine.sandbox import Record, compiled, render
from flowctl.engine.templates import prepare
from flowctl.engine.tick import tick
from flowctl.project.load import load as load_project
from flowctl.store.database import Store, open_store, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_772_445_600_000  # 2026-03-02T10:00Z
MESSAGES = 30_000  # starting processes takes a seventh of a second: little of what so many take
FEW, MANY = 1_000, 30_000  # for memory
SESSIONS = 10  # of smtp-source
CONNECTIONS = 64  # ours: each commit before the point of no return serves all of them
BUILDS = 100  # mails in a row
ONE_GOAL, TWO_GOAL, SIGNED_GOAL, BUILD_GOAL, MEMORY_GOAL = 0.30, 0.45, 0.20, 2.0, 1.15
POSTFIX = ("smtp-sink", "smtp-source")
ROUNDS = 5  # the middle one counts

SETTINGS = """\
project: bench
store: sqlite:///flowctl.db
timezone: Europe/Paris
languages: [fr, en]
contacts: {{fields: {{first_name: text, plan: text}}}}
events: {{cart_updated: {{properties: {{items: number, cart_id: text}}}}}}
senders: {{shop: {{name: Maison Lune, email: bonjour@shop.example, address: "1 rue de la Lune, Paris"}}}}
channels:
  email: {{adapter: smtp, host: 127.0.0.1, port: {port}, connections: {connections}{dkim}}}
public_url: https://news.shop.example
"""
DKIM = ", dkim: {domain: shop.example, selector: s1, key: dkim.pem}"
MESSAGE = """\
message: cart-reminder
purpose: marketing
topic: offers
email:
  from: shop
  subject: {fr: "Votre panier vous attend, {{ contact.first_name }}", en: "Your cart is waiting, {{ contact.first_name }}"}
  file: cart-reminder.{lang}.md
"""
BODY = (
    """\
# Bonjour {{ contact.first_name }}

Vous avez laissé **{{ trigger.items }} articles** dans votre panier.

{% if contact.plan == "gold" %}
En tant que membre Or, la livraison vous est offerte.
{% endif %}

{% for product in data.cart.products %}
- [{{ product.name }}](https://shop.example/p/{{ product.id }}), {{ product.count }} × {{ product.price|round(2) }} €{% if product.left < 5 %} (plus que {{ product.left }}){% endif %}
{% endfor %}

Total : {{ data.cart.products|map(attribute="price")|sum|round(2) }} €

"""
    + "\n\n".join(
        ["Nos pièces sont faites à la main, en petites séries, par des artisans que nous connaissons depuis longtemps."]
        * 8
    )
    + """

[Reprendre mon panier](https://shop.example/cart/{{ trigger.cart_id }})
"""
)
SHOP = [
    "Lampe en papier washi",
    "Carnet relié à la main",
    "Bougie au thé blanc",
    "Bol à matcha",
    "Écharpe en alpaga",
    "Plaid de laine",
    "Théière en fonte",
]


def _cart(number: int) -> dict[str, Any]:
    """What a `fetch` of the shop's API saves of somebody's cart; no two are alike."""
    products = [
        {"id": f"p{number}-{line}", "name": SHOP[(number + line) % len(SHOP)], "count": line + 1, "price": 9.9 + number % 90 + line, "left": line * 2}
        for line in range(4)
    ]  # fmt: skip
    return {"cart": {"products": products}}


WORKFLOW = """\
workflow: cart
description: Bring carts back.
owner: bench
type: follow-up
triggers: [{event: cart_updated}]
steps: [{send: cart-reminder}]
"""


def run(*, quick: bool = False) -> list[Ratio]:
    """End to end with one and two processes, with signatures, memory; then rendering and building alone."""
    missing = [name for name in POSTFIX if not _program(name)]
    if missing:
        print(
            f"sending: SKIPPED but for build-mail, {missing[0]} is not installed (apt-get install postfix)",
            file=sys.stderr,
        )
    messages = MESSAGES // 5 if quick else MESSAGES
    with TemporaryDirectory(prefix="flowctl-bench-") as name:
        folder = Path(name)
        size = _written(folder)
        building = _building(folder, messages // 5)
        return [building] if missing else [*_sending(folder, messages, size), building]


def _sending(folder: Path, messages: int, size: int) -> list[Ratio]:
    goals = {"one": ONE_GOAL, "two": TWO_GOAL, "signed": SIGNED_GOAL}
    with _sink() as port:
        pairs = [pair for _ in range(ROUNDS) for pair in _pairs(folder, port, messages, size)]
        memory = _memory(folder, port, min(MANY, messages * 3))
    made = []
    for what, goal in goals.items():
        ratio, ours, theirs = _middle([(ours / theirs, ours, theirs) for name, ours, theirs in pairs if name == what])
        detail = f"{ours:,.0f}/s; smtp-source {theirs:,.0f}/s before and after, mails of {size:,} bytes"
        made.append(Ratio(name=f"send-{what}", value=ratio, goal=goal, at_least=True, detail=detail))
    return [*made, memory]


def _middle(measured: list[tuple[float, ...]]) -> tuple[float, ...]:
    return sorted(measured)[len(measured) // 2]


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/lib/postfix/sbin")


@contextlib.contextmanager
def _sink() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sink = subprocess.Popen(
        [_program("smtp-sink") or "", *_user(), f"127.0.0.1:{port}", "1000"], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
    finally:
        sink.terminate()
        sink.wait()


def _user() -> list[str]:
    return ["-u", "nobody"] if os.geteuid() == 0 else []


def _source(port: int, messages: int, size: int) -> float:
    """Messages a second of smtp-source: no reconnecting (-d), ten sessions, mails as long as ours."""
    command = [
        _program("smtp-source") or "",
        "-d",
        "-s",
        str(SESSIONS),
        "-m",
        str(messages),
        "-l",
        str(size),
        f"127.0.0.1:{port}",
    ]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return messages / (time.perf_counter() - begin)


def _written(folder: Path) -> int:
    """Write the project; returns how long one of its mails is."""
    _settings(folder, 25, signed=False)
    (folder / "cart-reminder.yaml").write_text(MESSAGE, encoding="utf-8")
    (folder / "cart.yaml").write_text(WORKFLOW, encoding="utf-8")
    for language in ("fr", "en"):
        (folder / f"cart-reminder.{language}.md").write_text(BODY, encoding="utf-8")
    key = folder / "dkim.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, stderr=subprocess.DEVNULL)
    key.chmod(0o600)
    letters, snapshot = _letters(folder)
    letter = letters.build(snapshot, **_case(1))
    assert isinstance(letter, Letter), letter
    return len(letter.payload)


def _settings(folder: Path, port: int, *, signed: bool) -> None:
    text = SETTINGS.format(port=port, connections=CONNECTIONS, dkim=DKIM if signed else "")
    (folder / "flowctl.yaml").write_text(text, encoding="utf-8")


def _store(folder: Path, messages: int) -> Store:
    """A store on disk with so many messages that may leave now, as a tick leaves them before it delivers."""
    for left in folder.glob("flowctl.db*"):
        left.unlink()
    store = open_store(folder / "flowctl.db", create=True)
    connection = store.connection
    apply(store, load_project(folder), commit="bench", now=NOW - 120_000)
    with transaction(connection):
        connection.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :last) "
            "INSERT INTO contacts (id, key, email, first_name, plan, language, created_at, _seed, _origin) SELECT n, 'c' || n, "
            "'person' || n || '@example.com', 'Zoé' || n % 1000, CASE n % 3 WHEN 0 THEN 'gold' ELSE 'free' END, 'fr', :at, "
            "n * 48271 % 2147483647, 1 FROM numbers",
            {"last": messages, "at": NOW - 60_000},
        )
        connection.execute(
            "INSERT INTO consents (contact_id, channel, purpose, granted, at, source) "
            "SELECT id, 'email', 'marketing', 1, created_at, 'bench' FROM contacts"
        )
        connection.execute(
            "INSERT INTO events (contact_id, type, at, props) SELECT id, (SELECT id FROM event_types WHERE name = 'cart_updated'), "
            "?, json_object('items', id % 5 + 1, 'cart_id', 'cart-' || id) FROM contacts",
            (NOW - 30_000,),
        )
    tick(store, now=NOW, base=folder, limit=0, unasked=True)
    with transaction(connection):  # as a `fetch` leaves it
        carts = [(json.dumps(_cart(number)), number) for number in range(1, messages + 1)]
        connection.executemany("UPDATE enrollments SET data = ? WHERE contact_id = ?", carts)
    return store


def _runtime(store: Store) -> Runtime:
    runtime = load(store.connection)
    assert runtime is not None
    return runtime


def _pairs(folder: Path, port: int, messages: int, size: int) -> Iterator[tuple[str, float, float]]:
    """Our messages a second and those of smtp-source right before and after: a machine's speed changes from minute to minute."""
    before = _source(port, messages, size)
    for what, processes, signed in (("one", "1", False), ("two", "2", False), ("signed", "", True)):
        _settings(folder, port, signed=signed)
        store = _store(folder, messages)
        os.environ["FLOWCTL_PROCESSES"] = processes  # none: what flowctl takes by itself
        ours = _delivered(store, folder, messages)
        store.close()
        after = _source(port, messages, size)
        yield what, ours, (before + after) / 2
        before = after


def _delivered(store: Store, folder: Path, messages: int) -> float:
    """Messages a second from claim to the commit of what became of them."""
    runtime = _runtime(store)
    delivery = Delivery(store, runtime, channel_maker(runtime, folder), lambda: NOW + 1, unasked=True)
    begin = time.perf_counter()
    done = delivery.run()
    elapsed_s = time.perf_counter() - begin
    assert done.sent == messages, done
    return messages / elapsed_s


def _case(number: int) -> dict[str, Any]:
    contact = {
        "id": number,
        "first_name": f"Zoé{number % 1000}",
        "plan": "gold" if number % 3 == 0 else "free",
        "language": "fr",
    }
    return {
        "channel": "email", "recipient": f"person{number}@example.com", "key": f"{number:032x}", "now": NOW, "contact": contact,
        "data": _cart(number), "zone": "Europe/Paris", "trigger": {"items": number % 5 + 1, "cart_id": f"cart-{number}"},
    }  # fmt: skip


def _letters(folder: Path) -> tuple[Letters, dict[str, Any]]:
    project = load_project(folder)
    settings = project.settings
    snapshot = prepare(
        project.messages["cart-reminder"], senders=settings.senders, languages=settings.languages, read=project.bodies.get, project="bench"
    )  # fmt: skip
    return Letters(Links(secret="0" * 64, public_url=settings.public_url or "")), snapshot


def _building(folder: Path, count: int) -> Ratio:
    """Rendering and building a whole mail, against running its three templates in jinja2's own sandbox and nothing else; in processor time.

    Not against our rendering, which is said beside it: it does the same in a third of the time, and would be no fixed measure.
    """
    letters, snapshot = _letters(folder)
    email = snapshot["channels"]["email"]
    body = email["bodies"]["fr"]
    sources = ((email["subject"]["fr"], False), (body["html"], True), (body["text"], False))
    ours = [compiled(source, html=html) for source, html in sources]
    theirs = [ImmutableSandboxedEnvironment(autoescape=html).from_string(source) for source, html in sources]
    cases = [_case(number) for number in range(count)]
    said = [_variables(case) for case in cases]
    times: dict[str, list[float]] = {"whole": [], "ours": [], "theirs": []}
    for start in range(0, count, BUILDS):
        now = slice(start, start + BUILDS)
        times["whole"].append(_timed(lambda case: letters.build(snapshot, **case), cases[now]))
        times["ours"].append(_timed(lambda variables: [render(one, variables) for one in ours], said[now]))
        times["theirs"].append(_timed(lambda variables: [one.render(variables) for one in theirs], said[now]))
    whole, own, alone = (min(times[name]) for name in times)  # other programs only ever make it slower
    detail = f"{whole * 1e6:.0f} µs a mail, of which {own * 1e6:.0f} rendering; jinja2's sandbox {alone * 1e6:.0f}"
    return Ratio(name="build-mail", value=whole / alone, goal=BUILD_GOAL, detail=detail)


def _variables(case: dict[str, Any]) -> dict[str, Any]:
    records = {name: Record(name, case.get(name) or {}) for name in ("contact", "trigger", "data", "input")}
    return {**records, "now": NOW, "unsubscribe_url": f"https://news.shop.example/u/{'0' * 200}"}


def _timed(work: Callable[[dict[str, Any]], object], items: list[dict[str, Any]]) -> float:
    """Seconds of processor time for one of them."""
    begin = time.thread_time()
    for item in items:
        work(item)
    return (time.thread_time() - begin) / len(items)


def _memory(folder: Path, port: int, many: int) -> Ratio:
    """The most memory that a process held which delivers few and many messages."""
    _settings(folder, port, signed=False)
    peaks = []
    for messages in (FEW, many):
        _store(folder, messages).close()
        command = [sys.executable, "-m", "bench.sending", str(folder), str(messages)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    few, more = peaks
    detail = f"{more / 1024:.0f} MB for {many:,} messages, {few / 1024:.0f} MB for {FEW:,}; what does not grow by then does not at 1M"
    return Ratio(name="send-memory", value=more / few, goal=MEMORY_GOAL, detail=detail)


def _held(folder: Path, messages: int) -> int:
    """Deliver what is ready in a store; the peak of this process, in KiB."""
    store = open_store(folder / "flowctl.db", create=False)
    os.environ["FLOWCTL_PROCESSES"] = "1"
    _delivered(store, folder, messages)
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not ru_maxrss: on Linux it survives exec, and so is at least what the process held that started this one.
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(_held(Path(sys.argv[1]), int(sys.argv[2])))
