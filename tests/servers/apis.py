"""Local servers that speak providers' HTTP interfaces as their documentation has them, and misbehave when told to.

They run in threads of the test: what they accepted stands in `accepted`, whatever became of the client.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import socket
import ssl
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from flowctl.language.sms import GSM_BASIC, GSM_EXTENDED

HERE = Path(__file__).parent
KEEP_ALIVE_S = 10


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A message that the provider took."""

    recipient: str
    text: str
    sender: str | None = None
    more: dict = field(default_factory=dict)


class Api:
    """A server. `faults` maps a recipient (or "*") to what happens to its requests: see `_misbehave`."""

    def __init__(self, *, tls: bool = False, close_each: bool = False) -> None:  # noqa: C901 - a handler is a class of methods
        self.asked: list[Asked] = []
        self.accepted: list[Accepted] = []
        self.faults: dict[str, object] = {}
        self.delay_s = 0.0
        self.close_each = close_each
        self.numbers = itertools.count(1)
        self.opened = 0
        self.waiting = self.at_once = 0  # requests that are answered slowly, and the most at one time
        self.lock = threading.Lock()
        self.known: dict[str, tuple] = {}  # idempotency key -> answer
        self._open: set[socket.socket] = set()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = KEEP_ALIVE_S

            def setup(self):
                super().setup()
                self.number = api.opened = next(api.numbers)
                api._open.add(self.request)

            def finish(self):
                api._open.discard(self.request)
                super().finish()

            def log_message(self, *_):
                pass

            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(
                    method=self.command,
                    path=self.path,
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=body,
                    connection=self.number,
                )
                with api.lock:
                    api.asked.append(asked)
                    fault = api.faults.get(api.recipient(asked), api.faults.get("*"))
                if isinstance(fault, list):
                    fault = fault.pop(0) if fault else None
                if api.delay_s:
                    api.waiting += 1
                    api.at_once = max(api.at_once, api.waiting)
                    time.sleep(api.delay_s)
                    api.waiting -= 1
                if fault is None or (isinstance(fault, str) and fault.startswith("after:")):
                    with api.lock:
                        answer = api.answer(asked)
                    if fault is None:
                        self.write(*answer)
                        return
                    fault = fault.removeprefix("after:")
                self.misbehave(fault)

            do_GET = do_POST = do_PUT = respond  # noqa: N815 - http.server's names

            def write(self, status, body, headers=None):
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                if api.close_each:
                    self.send_header("Connection", "close")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def misbehave(self, fault):
                self.close_connection = True
                match fault:
                    case (int(), *_):
                        self.close_connection = False
                        self.write(*fault)
                    case "silence":
                        time.sleep(3)
                    case "close":
                        pass
                    case "reset":
                        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    case "garbage":
                        self.wfile.write(b"\x00\xff not http at all\r\n\r\n")
                    case "half":
                        self.wfile.write(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"sid"')
                    case "headers":
                        self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Le")
                    case "drip":
                        self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n")
                        for _ in range(40):
                            try:
                                self.wfile.write(b" ")
                            except OSError:
                                return
                            time.sleep(0.05)
                    case "huge":
                        self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000)
                    case _:
                        raise AssertionError(fault)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(HERE / "cert.pem", HERE / "key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def hang_up(self) -> None:
        """Close every idle line, as a server does that was restarted."""
        for line in list(self._open):
            line.shutdown(socket.SHUT_RDWR)

    def connections(self) -> int:
        return len({asked.connection for asked in self.asked})

    def to(self, recipient: str) -> list[Accepted]:
        return [one for one in self.accepted if one.recipient == recipient]

    # What each API fills in.

    def settings(self, **more) -> dict:
        """Channel settings that reach it."""
        raise NotImplementedError

    def recipient(self, asked: Asked) -> str:
        raise NotImplementedError

    def answer(self, asked: Asked) -> tuple:
        raise NotImplementedError


@contextmanager
def serving(kind, **how):
    api = kind(**how)
    try:
        yield api
    finally:
        api.close()


def plain(text: str) -> str:
    """What arrives of a text that is not said to be Unicode."""
    return "".join(char if char in GSM_BASIC or char in GSM_EXTENDED else "?" for char in text)


class Twilio(Api):
    """https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource."""

    account = "AC" + "0123456789abcdef" * 2
    token = "s3cr3t-of-the-test"
    dead: ClassVar = {"+15005550001": 21211, "+15005550004": 21610, "+15005550009": 21614}  # Twilio's own magic numbers

    def settings(self, **more):
        return {
            "adapter": "twilio", "account": self.account, "token": self.token, "url": self.url, "private": True, "timeout": 2, "reply_timeout": 1,
            **more,
        }  # fmt: skip

    def recipient(self, asked):
        return asked.form.get("To", "")

    def error(self, status, code, message):
        said = {
            "code": code,
            "message": message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }
        return status, said

    def answer(self, asked):
        expected = base64.b64encode(f"{self.account}:{self.token}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {expected}":
            return self.error(401, 20003, "Authenticate")
        if (asked.method, asked.path) != ("POST", f"/2010-04-01/Accounts/{self.account}/Messages.json"):
            return self.error(404, 20404, "The requested resource was not found")
        if asked.headers.get("content-type") != "application/x-www-form-urlencoded":
            return self.error(415, 20415, "Unsupported media type")
        form = asked.form
        if not (form.get("From") or form.get("MessagingServiceSid")):
            return self.error(400, 21603, "A 'From' phone number is required.")
        if not form.get("To"):
            return self.error(400, 21604, "A 'To' phone number is required.")
        if not (form.get("Body") or form.get("ContentSid")):
            return self.error(400, 21619, "A text message body or media urls must be specified.")
        to = form["To"].removeprefix("whatsapp:")
        if to in self.dead or not re.fullmatch(r"\+[1-9]\d{6,14}", to):
            code = self.dead.get(to, 21211)
            return self.error(400, code, f"The 'To' number {to} cannot be written to.")
        if len(form.get("Body", "")) > 1600:
            return self.error(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
        self.accepted.append(
            Accepted(
                recipient=to,
                text=form.get("Body", ""),
                sender=form.get("From") or form.get("MessagingServiceSid"),
                more=form,
            )
        )
        sid = f"SM{len(self.accepted):032x}"
        said = {
            "account_sid": self.account, "api_version": "2010-04-01", "body": form.get("Body"), "date_created": "Mon, 02 Mar 2026 10:00:00 +0000",
            "direction": "outbound-api", "error_code": None, "error_message": None, "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"), "num_media": "0", "num_segments": "1", "price": None, "price_unit": "USD",
            "sid": sid, "status": "queued", "to": form["To"], "uri": f"/2010-04-01/Accounts/{self.account}/Messages/{sid}.json",
        }  # fmt: skip
        return 201, said


class Vonage(Api):
    """https://developer.vonage.com/en/api/sms: always 200; what became of the message stands in `messages`."""

    key, secret = "abcd1234", "v0nage-s3cr3t"
    barred = "+33600000007"

    def settings(self, **more):
        values = {"api_key": self.key, "api_secret": self.secret}
        return {
            "adapter": "http",
            "provider": "vonage",
            "values": values,
            "url": self.url,
            "private": True,
            "timeout": 2,
            "reply_timeout": 1,
            **more,
        }

    def recipient(self, asked):
        return "+" + asked.form.get("to", "")

    def status(self, status, text):
        return 200, {"message-count": "1", "messages": [{"status": status, "error-text": text}]}

    def answer(self, asked):
        form = asked.form
        if (asked.method, asked.path) != ("POST", "/sms/json"):
            return 404, b"<html>not found</html>", {"Content-Type": "text/html"}
        for name in ("from", "to", "text", "api_key", "api_secret"):
            if not form.get(name):
                return self.status("2", f"Missing {name} param")
        if (form["api_key"], form["api_secret"]) != (self.key, self.secret):
            return self.status("4", "Bad Credentials")
        if not re.fullmatch(r"[1-9]\d{6,14}", form["to"]):
            return self.status("3", "Invalid to param")
        if "+" + form["to"] == self.barred:
            return self.status("7", "Number barred")
        # Characters beyond GSM-7 arrive as question marks unless the type says unicode.
        text = form["text"] if form.get("type") == "unicode" else plain(form["text"])
        self.accepted.append(Accepted(recipient="+" + form["to"], text=text, sender=form["from"], more=form))
        part = {
            "to": form["to"],
            "status": "0",
            "remaining-balance": "15.53590000",
            "message-price": "0.03330000",
            "network": "20810",
        }
        parts = [
            {**part, "message-id": f"0C0000{len(self.accepted):04}-{n}"}
            for n in range(1 if len(form["text"]) <= 160 else 2)
        ]
        return 200, {"message-count": str(len(parts)), "messages": parts}


class Brevo(Api):
    """https://developers.brevo.com/reference/send-transac-sms: 201 with the message's id, errors as {code, message}."""

    key = "xkeysib-0123456789"

    def settings(self, **more):
        return {
            "adapter": "http", "provider": "brevo", "values": {"api_key": self.key}, "url": self.url, "private": True, "timeout": 2, "reply_timeout": 1,
            **more,
        }  # fmt: skip

    def recipient(self, asked):
        return "+" + str(asked.json.get("recipient", ""))

    def answer(self, asked):
        if asked.headers.get("api-key") != self.key:
            return 401, {"code": "unauthorized", "message": "Key not found"}
        if (asked.method, asked.path) != ("POST", "/v3/transactionalSMS/send"):
            return 404, {"code": "document_not_found", "message": "not found"}
        said = asked.json
        for name in ("sender", "recipient", "content"):
            if not said.get(name):
                return 400, {"code": "missing_parameter", "message": f"{name} is missing"}
        if said.get("type") not in ("transactional", "marketing"):
            return 400, {"code": "invalid_parameter", "message": "type is invalid"}
        if not re.fullmatch(r"[1-9]\d{6,14}", said["recipient"]) or said["recipient"].startswith("3360000000"):
            return 400, {"code": "invalid_parameter", "message": "Invalid telephone number"}
        text = said["content"] if said.get("unicodeEnabled") else plain(said["content"])
        self.accepted.append(Accepted(recipient="+" + said["recipient"], text=text, sender=said["sender"], more=said))
        return 201, {"messageId": 1511882900176220 + len(self.accepted)}


class Ovh(Api):
    """https://docs.ovhcloud.com/en/guides/web-cloud/messaging/sms/api-sms-cookbook: signed requests; who is invalid stands in the answer."""

    keys: ClassVar = {
        "application_key": "ak0123456789",
        "application_secret": "as-s3cr3t-0123",
        "consumer_key": "ck-s3cr3t-4567",
        "service": "sms-ab12345-1",
    }

    def settings(self, **more):
        return {
            "adapter": "http",
            "provider": "ovh",
            "values": self.keys,
            "url": self.url,
            "private": True,
            "timeout": 2,
            "reply_timeout": 1,
            **more,
        }

    def recipient(self, asked):
        return asked.json["receivers"][0]

    def answer(self, asked):
        keys, headers = self.keys, asked.headers
        at = headers.get("x-ovh-timestamp", "0")
        url = self.signed_url + asked.path
        signed = "+".join(
            (keys["application_secret"], keys["consumer_key"], asked.method, url, asked.body.decode(), at)
        )
        if headers.get("x-ovh-application") != keys["application_key"]:
            return 403, {"class": "Client::Forbidden", "message": "This application key is invalid"}
        if headers.get("x-ovh-consumer") != keys["consumer_key"]:
            return 403, {
                "class": "Client::Forbidden",
                "errorCode": "INVALID_CREDENTIAL",
                "message": "This credential is not valid",
            }
        if headers.get("x-ovh-signature") != "$1$" + hashlib.sha1(signed.encode()).hexdigest():
            return 400, {"class": "Client::BadRequest", "message": "Invalid signature"}
        if (asked.method, urlsplit(asked.path).path) != ("POST", f"/1.0/sms/{keys['service']}/jobs"):
            return 404, {"class": "Client::NotFound", "message": "This service does not exist"}
        said = asked.json
        if not said.get("message"):
            return 400, {"class": "Client::BadRequest", "message": "Missing message"}
        [to] = said["receivers"]
        if not re.fullmatch(r"\+[1-9]\d{6,14}", to) or to.startswith("+3360000000"):
            return 200, {"totalCreditsRemoved": 0, "invalidReceivers": [to], "ids": [], "validReceivers": []}
        self.accepted.append(Accepted(recipient=to, text=said["message"], sender=said.get("sender"), more=said))
        return 200, {
            "totalCreditsRemoved": 1,
            "invalidReceivers": [],
            "ids": [27814656 + len(self.accepted)],
            "validReceivers": [to],
        }

    @property
    def signed_url(self) -> str:
        return self.url


class Keyed(Api):
    """A made-up provider with bearer tokens and idempotency keys: the same key is answered as the first time."""

    token = "bearer-s3cr3t"

    def settings(self, **more):
        return {
            "adapter": "http",
            "values": {"token": self.token},
            "url": self.url,
            "private": True,
            "timeout": 2,
            "reply_timeout": 1,
            **more,
        }

    def recipient(self, asked):
        return asked.json.get("to", "")

    def answer(self, asked):
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"error": "unauthorized"}
        key = asked.headers.get("idempotency-key")
        if key and key in self.known:
            return self.known[key]
        said = asked.json
        self.accepted.append(Accepted(recipient=said["to"], text=str(said.get("text", "")), more=said))
        answer = 202, {"id": f"m{len(self.accepted)}"}
        if key:
            self.known[key] = answer
        return answer
