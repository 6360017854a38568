"""A real SMTP server in a process of its own that misbehaves as its command line says.

It keeps what it accepts like flowctl.channels.devserver, so that a test sees what arrived whatever became of the client.
A fault may be limited to one recipient by --only.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aiosmtpd.smtp import SMTP, AuthResult

from flowctl.channels.devserver import Keeper, serve

HERE = Path(__file__).parent


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--rcpt", action="append", nargs=2, default=[], metavar=("ADDRESS", "REPLY"), help="reply to RCPT TO:<ADDRESS>"
    )
    parser.add_argument("--mail", metavar="REPLY", help="reply to every MAIL")
    parser.add_argument("--dot", metavar="REPLY", help="reply after the dot, with nothing kept unless it is a 2xx")
    parser.add_argument(
        "--raw", metavar="TEXT", help=r"after the dot keep the message, write TEXT (\r\n understood) and close"
    )
    parser.add_argument(
        "--drop", choices=["greeting", "mail", "rcpt", "data", "dot"], help="close the line there, without a reply"
    )
    parser.add_argument("--quit", metavar="REPLY", help="reply to QUIT")
    parser.add_argument("--close-after", action="store_true", help="close the line after each reply to the dot")
    parser.add_argument("--per-connection", type=int, help="421 and close after so many messages on one line")
    parser.add_argument("--total", type=int, help="421 and close for good after so many messages")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before the reply to the dot")
    parser.add_argument("--only", metavar="ADDRESS", help="faults at RCPT and later only for this recipient")
    parser.add_argument("--starttls", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--auth", metavar="USER:PASSWORD")
    parser.add_argument("--size", type=int, default=33_554_432)
    parser.add_argument("--no-utf8", action="store_true")
    parser.add_argument("--no-pipelining", action="store_true")
    return parser.parse_args(arguments)


class FaultyKeeper(Keeper):
    """Answers as told."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.dir)
        self._options = options
        self._rcpt = dict(options.rcpt)
        self.total = 0

    def concerned(self, envelope) -> bool:
        return self._options.only is None or self._options.only in envelope.rcpt_tos

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802 - aiosmtpd's name
        session.host_name = hostname
        if not self._options.no_pipelining:  # as nearly every real server
            responses.insert(-1, "250-PIPELINING")
        return responses

    async def handle_MAIL(self, server, session, envelope, address, mail_options):  # noqa: N802 - aiosmtpd's name
        options = self._options
        if options.drop == "mail":
            server.transport.abort()
            return "250 ok"
        if options.mail:
            return options.mail
        used_up = options.per_connection is not None and server.taken >= options.per_connection
        if used_up or (options.total is not None and self.total >= options.total):
            server.transport.write(b"421 4.7.0 enough for now\r\n")
            server.transport.close()
            return "250 never seen"
        envelope.mail_from = address
        return "250 ok"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):  # noqa: N802 - aiosmtpd's name
        options = self._options
        if options.drop == "rcpt" and options.only in (None, address):
            server.transport.abort()
            return "250 ok"
        if address in self._rcpt:
            return self._rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        options = self._options
        if not self.concerned(envelope):
            return f"250 kept as {self._take(server, envelope)}"
        await asyncio.sleep(options.delay)
        if options.drop == "dot":
            self._take(server, envelope)
            server.transport.abort()
            return "250 never seen"
        if options.raw is not None:
            self._take(server, envelope)
            server.transport.write(options.raw.replace("\\r\\n", "\r\n").encode())
            server.transport.close()
            return "250 never seen"
        if options.dot and not options.dot.startswith("2"):
            return options.dot
        name = self._take(server, envelope)
        if options.close_after:
            server.transport.write(f"250 kept as {name}\r\n".encode())
            server.transport.close()
            return "250 never seen"
        return options.dot or f"250 kept as {name}"

    async def handle_QUIT(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        return self._options.quit or "221 bye"

    def _take(self, server, envelope) -> str:
        self.total += 1
        server.taken += 1
        return self.keep(envelope)


class FaultySMTP(SMTP):
    """aiosmtpd with faults it has no handler for."""

    def __init__(self, options: argparse.Namespace, keeper: FaultyKeeper, **settings) -> None:
        super().__init__(keeper, hostname="localhost", **settings)
        self._options = options
        self.taken = 0

    def connection_made(self, transport) -> None:
        if self._options.drop == "greeting":
            transport.abort()
            return
        super().connection_made(transport)

    async def smtp_DATA(self, arg) -> None:  # noqa: N802 - aiosmtpd's name
        if self._options.drop == "data" and self.event_handler.concerned(self.envelope):
            self.transport.abort()
            return
        await super().smtp_DATA(arg)

    async def push(self, status) -> None:
        if self.transport is not None and not self.transport.is_closing():
            await super().push(status)


def main() -> None:
    options = options_of()
    keeper = FaultyKeeper(options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HERE / "cert.pem", HERE / "key.pem")
    settings = {"enable_SMTPUTF8": not options.no_utf8, "data_size_limit": options.size}
    if options.starttls:
        settings |= {"tls_context": context, "require_starttls": True}
    if options.auth:
        user, _, password = options.auth.partition(":")

        def authenticate(_server, _session, _envelope, _mechanism, data):
            return AuthResult(success=(data.login, data.password) == (user.encode(), password.encode()), handled=False)

        settings |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": False}
    over_tls = {"ssl": context} if options.tls else {}
    asyncio.run(serve(lambda: FaultySMTP(options, keeper, **settings), "127.0.0.1", options.port, **over_tls))


if __name__ == "__main__":
    main()
