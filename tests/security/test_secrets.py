"""Secrets of channels, services and the store itself: in no output, error, log, file or row, at any verbosity."""

import base64
import contextlib
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

from flowctl.channels.channel import one_line
from flowctl.cli.main import COMMANDS, main
from flowctl.store import consents, contacts, events
from flowctl.store.database import open_store, transaction

SECRETS = {
    "SMTP_PASSWORD": "sm7p-Zq!9/pass word+x",
    "TWILIO_TOKEN": "tw1lio/0ken=Zq9",
    "SERVICE_TOKEN": "s3rvice+Zq9/token",
    "SIGNING_KEY": "k3y-Zq9&sign",
}


def spellings(secret):
    """The secret, and as servers and programs might repeat it."""
    data = secret.encode()
    found = {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1], data.hex()}
    for before in (b"", b"\0user\0", b"user:", b"x", b"xx", b"ACCT1234567890:"):
        whole = base64.b64encode(before + data).decode()
        found |= {whole, whole.rstrip("=")[-(len(data)) :]}
    return {each for each in found if len(each) > 6}


@pytest.mark.parametrize("secret", [*SECRETS.values(), "plain", "ab", "sécret", "x" * 60])
@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"\0user@example.com\0", b"user:"])
@pytest.mark.parametrize("after", [b"", b"!", b"!!", b":rest"])
def test_a_reply_that_repeats_a_secret_in_base64_does_not_show_it(secret, before, after):
    told = base64.b64encode(before + secret.encode() + after).decode()
    shown = one_line(f"535 cannot parse AUTH PLAIN {told} of {secret} or {quote(secret, safe='')}", secret)
    assert secret not in shown
    if len(secret) < 6:
        return
    # Whatever is left of the base64 does not decode to half of the secret.
    piece = shown.split("PLAIN ")[1].split(" of")[0]
    for part in piece.split("***"):
        for cut in range(4):
            with contextlib.suppress(ValueError):
                decoded = base64.b64decode(part[cut:] + "=" * (-len(part[cut:]) % 4))
                assert secret.encode()[: len(secret) // 2 + 1] not in decoded
                assert secret.encode()[-(len(secret) // 2 + 1) :] not in decoded


class EchoSmtp(socketserver.StreamRequestHandler):
    """Refuses every login, and repeats what it was told, plainly and as it came."""

    def handle(self):
        self.wfile.write(b"220 echo ESMTP\r\n")
        for raw in self.rfile:
            line = raw.strip()
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(b"250-echo\r\n250 AUTH PLAIN LOGIN\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                plain = b""
                with contextlib.suppress(ValueError):
                    plain = base64.b64decode(line.split()[-1]).replace(b"\0", b" ")
                self.wfile.write(b"535 5.7.8 refused: " + line + b" = " + plain + b"\r\n")


class EchoHttp(BaseHTTPRequestHandler):
    """Refuses everything, and repeats the whole request in its answer."""

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        told = f"{self.path} {dict(self.headers)} {self.rfile.read(length)!r}"
        with contextlib.suppress(IndexError, ValueError):
            told += base64.b64decode(self.headers["Authorization"].split()[1]).decode()
        body = json.dumps({"message": told, "code": 20003, "error": told}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Told", quote(told))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, *_):
        pass


@pytest.fixture
def servers():
    made = [
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), EchoSmtp),
        ThreadingHTTPServer(("127.0.0.1", 0), EchoHttp),
    ]
    for server in made:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield [server.server_address[1] for server in made]
    for server in made:
        server.shutdown()
        server.server_close()


SETTINGS = """\
project: secrets
timezone: UTC
languages: [en]
contacts: {{fields: {{first_name: text}}}}
events: {{bought: {{}}}}
senders: {{shop: {{name: Shop, email: shop@example.com, address: 1 Street, sms: Shop}}}}
channels:
  email: {{adapter: smtp, host: 127.0.0.1, port: {smtp}, security: none, username: user, password: '${{SMTP_PASSWORD}}'}}
  sms: {{adapter: twilio, account: ACCT1234567890, token: '${{TWILIO_TOKEN}}', url: 'http://127.0.0.1:{http}', private: true}}
services: {{shop: {{url: 'http://127.0.0.1:{http}', private: true, headers: {{Authorization: 'Bearer ${{SERVICE_TOKEN}}', X-Key: '${{SIGNING_KEY}}'}}}}}}
public_url: https://news.example.com
"""
FLOW = """\
workflow: w
description: W.
owner: crm
type: follow-up
goal: {event: bought, within: 30d}
triggers: [{event: bought}]
steps:
  - fetch: {service: shop, path: '/x', save_as: x, on_error: continue}
  - send: hello
"""
MESSAGES = """\
messages:
  hello:
    purpose: transactional
    email: {from: shop, subject: Hello, text: Hello}
    sms: {from: shop, text: Hello}
"""


@pytest.fixture
def project(tmp_path, servers, monkeypatch):
    monkeypatch.delenv("FLOWCTL_STORE", raising=False)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    smtp, http = servers
    (tmp_path / "flowctl.yaml").write_text(SETTINGS.format(smtp=smtp, http=http))
    (tmp_path / "w.yaml").write_text(FLOW)
    (tmp_path / "texting.yaml").write_text(
        FLOW.replace("workflow: w", "workflow: texting").replace("send: hello", "{send: hello, via: sms}")
    )
    (tmp_path / "messages.yaml").write_text(MESSAGES)
    return tmp_path


# A line for each command; those that need more than the store are there for what they refuse.
LINES = [
    "validate", "lint", "lint --format json", "rule", "test", "schema", "apply --yes --allow-dirty", "plan", "plan --json", "plan --out plan.json", "diff",
    "contacts list", "contacts show c1", "contacts show c1 --json", "contacts export c1", "contacts export", "events add bought --contact c1",
    "enroll w --contact c1", "tick", "tick --dry-run", "status", "status --json", "outbox list", "outbox list --json", "explain c1", "explain c1 --json",
    "report", "report w", "report w --json", "audit", "audit --json", "simulate --days 2", "segments list", "records list", "tasks list", "audiences list",
    "messages render hello --contact c1", "messages render hello --contact c1 --raw", "releases", "releases --json", "workflows list", "state export", "rollback 1 --yes",
    "backup copy.db", "coupons list", "bounces import .", "doctor", "doctor --json", "store adopt", "schedule", "pressure", "inbox list --contact c1", "providers", "split",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("loud", [(), ("-v",), ("-q",)], ids=["plain", "verbose", "quiet"])
def test_no_command_shows_one(project, capfd, monkeypatch, loud):
    missing = {name for name in COMMANDS if not any(line.split()[0] == name for line in LINES)}
    assert missing == set()
    with contextlib.suppress(SystemExit):
        assert main(["-C", str(project), "apply", "--yes", "--allow-dirty"]) == 0
    store = open_store(project / "flowctl.db", create=False)
    with transaction(store.connection):
        who = contacts.create(
            store.connection, {"key": "c1", "email": "c1@example.com", "phone": "+33612345678"}, origin=1, now=1
        )
        said = [
            consents.Statement(contact_id=who, channel=channel, granted=True, at=1, source="t")
            for channel in ("email", "sms")
        ]
        consents.record(store.connection, said, now=1, first_new_id=who)
        bought = events.type_id(store.connection, "bought")
        from flowctl import clock

        store.connection.execute(
            "INSERT INTO events (contact_id, type, at) VALUES (?, ?, ?)", (who, bought, clock.now())
        )
    own, shown = store.secret, []
    monkeypatch.chdir(project)
    main(["-C", str(project), *loud, "tick"])
    for line in LINES:
        main(["-C", str(project), *loud, *line.split()])
        out, err = capfd.readouterr()
        shown.append((line, out + err))
    assert store.connection.execute("SELECT count(*) FROM outbox").fetchone()[0] >= 1
    replies = store.connection.execute("SELECT group_concat(coalesce(reply, '')) FROM outbox").fetchone()[0]
    reasons = store.connection.execute("SELECT group_concat(coalesce(reason, '')) FROM fetches").fetchone()[0]
    assert "535" in replies + str(store.connection.execute("SELECT group_concat(reply) FROM breakers").fetchone()[0])
    assert "401" in reasons
    assert {"email", "sms"} == {name for (name,) in store.connection.execute("SELECT channel FROM breakers")}
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    for line, text in shown:
        assert own not in text, line
        assert "Traceback" not in text, line
        for name, secret in SECRETS.items():
            assert not [each for each in spellings(secret) if each in text], (name, line, text)
    for path in (path for path in project.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for name, secret in SECRETS.items():
            assert not [each for each in spellings(secret) if each.encode() in data], (name, path)
        assert own.encode() not in data or path.suffix == ".db", path


@pytest.mark.parametrize("variable", SECRETS)
def test_a_variable_that_is_missing_or_odd_is_named_and_not_shown(project, capfd, monkeypatch, variable):
    main(["-C", str(project), "apply", "--yes", "--allow-dirty"])
    for value in (None, "a\r\nb-Zq9-secret", "Zq9-\0secret"[:3] + "secret\x7f"):
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value)
        main(["-C", str(project), "tick"])
        main(["-C", str(project), "doctor"])
        out, err = capfd.readouterr()
        assert value is None or value not in out + err
        assert "b-Zq9-secret" not in out + err
        assert "at fault" not in err


def test_a_file_with_a_secret_must_be_private(project, capfd, monkeypatch, tmp_path):
    main(["-C", str(project), "apply", "--yes", "--allow-dirty"])
    path = tmp_path / "token"
    path.write_text("f1le-Zq9-secret\n")
    path.chmod(0o644)
    monkeypatch.delenv("SMTP_PASSWORD")
    monkeypatch.setenv("SMTP_PASSWORD_FILE", str(path))
    main(["-C", str(project), "doctor"])
    out, err = capfd.readouterr()
    assert "f1le-Zq9-secret" not in out + err


def test_objects_that_hold_secrets_do_not_print_them(project):
    from flowctl.channels.registry import make_channel
    from flowctl.engine.links import Links
    from flowctl.engine.web import Service

    said = {"adapter": "smtp", "host": "h", "username": "u", "password": SECRETS["SMTP_PASSWORD"]}
    twilio = {"adapter": "twilio", "account": "ACCT1234567890", "token": SECRETS["TWILIO_TOKEN"]}
    made = [make_channel("email", said), make_channel("sms", twilio)]
    texts = [repr(each) + str(each) + repr(each.open()) for each in made]
    texts += [
        repr(Service(url="https://x.example", headers={"A": SECRETS["SERVICE_TOKEN"]})),
        repr(Links(secret="a" * 64, public_url="")),
    ]
    store = open_store(":memory:", create=True)
    texts.append(repr(store))
    for text in texts:
        assert "Zq" not in text
        assert store.secret not in text
        assert "a" * 64 not in text
    store.close()
