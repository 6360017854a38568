"""E-mail by SMTP: smtplib driven verb by verb, so that it is always known whether a letter can have left."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from flowctl.channels.address import NotAnAddress, wire_address
from flowctl.channels.channel import FENCED, Letter, Phase, Receipt, one_line
from flowctl.channels.pace import Pace
from flowctl.channels.replies import CLOSING, GO_AHEAD, OK_FROM, OK_TO, TEMPORARY_FROM, Reply, judge

if TYPE_CHECKING:
    from flowctl.channels.channel import Commit

GREETED = 220
REPLY_LINE_BYTES_MAX = 2_048  # RFC 5321 §4.5.3.1.5 says 512; servers are wordier
REPLY_LINES_MAX = 100
QUIT_TIMEOUT_S = 2.0
# RFC 5321 §4.5.3.2.6 grants the server ten minutes after the dot: giving up there makes a doubt that waiting would not.
REPLY_TIMEOUT_FACTOR = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SmtpSettings:
    """Where and how to connect. `reply_timeout_s` is how long the reply after the dot may take."""

    host: str = "localhost"
    port: int = 25
    security: Literal["none", "starttls", "tls"] = "none"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    connections: int = 1
    rate_per_s: float | None = None
    timeout_s: float = 30.0
    reply_timeout_s: float | None = None
    ca: str | None = (
        None  # a PEM file to trust instead of the system's; otherwise OpenSSL's SSL_CERT_FILE counts as ever
    )

    @property
    def final_timeout_s(self) -> float:
        """Seconds to wait for the reply that decides."""
        return self.reply_timeout_s if self.reply_timeout_s is not None else self.timeout_s * REPLY_TIMEOUT_FACTOR


class SmtpChannel:
    """One SMTP provider; its connections share one pace."""

    def __init__(self, settings: SmtpSettings, *, pace: Pace | None = None) -> None:
        self._settings = settings
        self._pace = pace or Pace(settings.rate_per_s)

    def __repr__(self) -> str:
        return f"SmtpChannel({self._settings!r})"

    @property
    def connections(self) -> int:
        """How many connections may be open at once."""
        return self._settings.connections

    def open(self) -> SmtpConnection:
        """A connection that is yet to connect."""
        return SmtpConnection(self._settings, self._pace)


class _Ended(Exception):
    """An attempt ended in the safe phase; `gone` where the line is dead and a new one might do better."""

    def __init__(self, receipt: Receipt, *, gone: bool = False) -> None:
        super().__init__(receipt.reply)
        self.receipt = receipt
        self.gone = gone


class _Lost(smtplib.SMTPServerDisconnected):
    """The line broke, or what came over it is no reply."""


class _StrictReplies(smtplib.SMTP):
    """smtplib, except that half a reply, or none, is never taken for one."""

    def getreply(self) -> tuple[int, bytes]:
        """Code and text of one complete reply; anything else closes the line and raises `_Lost`."""
        try:
            return self._read_reply()
        except _Lost:
            self.close()
            raise
        except TimeoutError:
            self.close()
            message = "timed out waiting for a reply"
            raise _Lost(message) from None
        except OSError as error:
            self.close()
            message = f"connection lost: {error.strerror or error}"
            raise _Lost(message) from None

    def _read_reply(self) -> tuple[int, bytes]:
        if self.sock is None:
            message = "not connected"
            raise _Lost(message)
        if self.file is None:
            self.file = self.sock.makefile("rb")
        codes: set[bytes] = set()
        texts: list[bytes] = []
        for _ in range(REPLY_LINES_MAX):
            line: bytes = self.file.readline(REPLY_LINE_BYTES_MAX)
            if not line.endswith(b"\n"):
                message = (
                    "connection closed in the middle of a reply"
                    if line or texts
                    else "connection closed without a reply"
                )
                raise _Lost(message)
            code, mark = line[:3], line[3:4]
            codes.add(code)
            if len(codes) > 1 or not (
                code.isdigit() and b"200" <= code <= b"599" and mark in (b" ", b"-", b"\r", b"\n")
            ):
                message = f"malformed reply {line[:80]!r}"
                raise _Lost(message)
            texts.append(line[4:].strip())
            if mark != b"-":
                return int(code), b"\n".join(texts)  # EHLO's features are read line by line
        message = f"malformed reply of more than {REPLY_LINES_MAX} lines"
        raise _Lost(message)


class _TlsReplies(_StrictReplies, smtplib.SMTP_SSL):
    """The same over implicit TLS."""


@dataclass(frozen=True, slots=True)
class _Mail:
    """A letter as it goes over the wire: dots stuffed, the end of data included."""

    sender: str
    recipient: str
    body: bytes
    size_bytes: int
    utf8: bool


class SmtpConnection:
    """One line to the server, kept open between letters."""

    def __init__(self, settings: SmtpSettings, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self._wire: smtplib.SMTP | None = None

    def __repr__(self) -> str:
        return f"SmtpConnection({self._settings!r})"

    def transmit(self, letter: Letter, commit: Commit) -> Receipt:
        """Send one e-mail; see `channel.Connection`."""
        try:
            mail = _wired(letter)
        except NotAnAddress as error:
            return Receipt(outcome="failed", reply=one_line(str(error)), phase="open")
        try:
            self._address(mail)
        except _Ended as ended:
            return ended.receipt
        try:
            may_go = commit()
        except BaseException:
            self._reset()
            raise
        if not may_go:
            self._reset()
            return FENCED
        return self._hand_over(mail)

    def reach(self) -> str | None:
        """Connect and log in, and send nothing; what went wrong, or None."""
        try:
            self._connect()
        except _Ended as ended:
            return ended.receipt.reply
        return None

    def close(self) -> None:
        """QUIT, whose answer nobody needs."""
        wire, self._wire = self._wire, None
        if wire is None:
            return
        with contextlib.suppress(OSError):
            if wire.sock is not None:
                wire.sock.settimeout(QUIT_TIMEOUT_S)
            wire.quit()
        wire.close()

    def _address(self, mail: _Mail) -> None:
        """The safe phase. Servers close lines that idled or did their share, so a reused line gets one successor."""
        reused = self._wire is not None
        try:
            self._envelope(mail)
        except _Ended as ended:
            if not (reused and ended.gone):
                raise
            self._envelope(mail)

    def _envelope(self, mail: _Mail) -> None:
        wire = self._wire or self._connect()
        options = self._options(wire, mail)
        self._pace.wait()
        sender, recipient = f"MAIL FROM:<{mail.sender}>{options}", f"RCPT TO:<{mail.recipient}>"
        if wire.has_extn("pipelining"):
            self._say_both(sender, recipient)
        else:
            self._say(sender, "mail")
            self._say(recipient, "rcpt")

    def _options(self, wire: smtplib.SMTP, mail: _Mail) -> str:
        """The parameters of MAIL; refuses here what the server has said it will not take."""
        options = ""
        if wire.has_extn("size"):
            limit = wire.esmtp_features["size"].strip()
            if limit.isdigit() and 0 < int(limit) < mail.size_bytes:
                reply = f"message of {mail.size_bytes} bytes is over the server's limit of {limit}"
                raise _Ended(Receipt(outcome="failed", reply=reply, phase="mail"))
            options += f" SIZE={mail.size_bytes}"
        if mail.utf8:
            if not wire.has_extn("smtputf8"):
                reply = "the server cannot write to an address beyond ASCII (no SMTPUTF8)"
                raise _Ended(Receipt(outcome="failed", reply=reply, phase="mail"))
            options += " SMTPUTF8 BODY=8BITMIME"
        return options

    def _say(self, command: str, phase: Phase) -> Reply:
        """One command of the safe phase; anything but 2xx ends the attempt and leaves a clean line, or none."""
        try:
            reply = self._command(command)
        except (OSError, UnicodeError) as error:
            raise self._broken(error, phase) from None
        return self._taken(reply, phase)

    def _say_both(self, sender: str, recipient: str) -> None:
        """MAIL and RCPT in one journey (RFC 2920): where the server is far away, that is most of a letter's time.

        Both replies are read whatever the first one says, so that the line stays in step.
        """
        phase: Phase = "mail"
        try:
            wire = self._wire
            if wire is None:
                message = "not connected"
                raise _Lost(message)
            wire.send(f"{sender}\r\n{recipient}\r\n")
            first = self._reply(*wire.getreply())
            if not OK_FROM <= first.code <= OK_TO:
                with contextlib.suppress(OSError):  # what follows a refusal says nothing, and may not come
                    wire.getreply()
                self._taken(first, "mail")
            phase = "rcpt"
            second = self._reply(*wire.getreply())
        except (OSError, UnicodeError) as error:
            raise self._broken(error, phase) from None
        self._taken(second, "rcpt")

    def _broken(self, error: Exception, phase: Phase) -> _Ended:
        self._drop()
        # Before RCPT nobody was named, so a line that breaks there says something about the provider.
        scope: Literal["provider", "message"] = "provider" if phase == "mail" else "message"
        receipt = Receipt(outcome="retry", reply=self._said(error), phase=phase, scope=scope)
        return _Ended(receipt, gone=True)

    def _taken(self, reply: Reply, phase: Phase) -> Reply:
        """A reply that says yes; any other ends the attempt and leaves a clean line, or none."""
        if OK_FROM <= reply.code <= OK_TO:
            return reply
        if reply.code < TEMPORARY_FROM:
            self._drop()
            raise _Ended(Receipt(outcome="retry", reply=f"unexpected {reply}", phase=phase), gone=True)
        if reply.code == CLOSING:
            self._drop()
        else:
            self._reset()
        raise _Ended(judge(reply, phase), gone=reply.code == CLOSING)

    def _hand_over(self, mail: _Mail) -> Receipt:
        """Past the point of no return. Until the first byte of the body is written, nothing can have been accepted."""
        try:
            reply = self._command("DATA")
        except OSError as error:
            self._drop()
            return Receipt(outcome="retry", reply=self._said(error), phase="data")
        if reply.code != GO_AHEAD:
            return self._refused_data(reply)
        try:
            reply = self._write_body(mail)
        except OSError as error:
            self._drop()
            return Receipt(outcome="in_doubt", reply=self._said(error), phase="body")
        if OK_FROM <= reply.code <= OK_TO:
            return Receipt(outcome="sent", reply=str(reply), phase="body")
        if reply.code < TEMPORARY_FROM:
            self._drop()
            return Receipt(outcome="in_doubt", reply=f"unexpected {reply}", phase="body")
        if reply.code == CLOSING:
            self._drop()
        return judge(reply, "body")

    def _refused_data(self, reply: Reply) -> Receipt:
        if reply.code < TEMPORARY_FROM:
            self._drop()
            return Receipt(outcome="retry", reply=f"unexpected {reply}", phase="data")
        if reply.code == CLOSING:
            self._drop()
        else:
            self._reset()
        return judge(reply, "data")

    def _write_body(self, mail: _Mail) -> Reply:
        wire = self._wire
        if wire is None or wire.sock is None:
            message = "not connected"
            raise _Lost(message)
        wire.sock.settimeout(self._settings.final_timeout_s)
        wire.sock.sendall(mail.body)
        reply = self._reply(*wire.getreply())
        wire.sock.settimeout(self._settings.timeout_s)
        return reply

    def _connect(self) -> smtplib.SMTP:
        """Connect, TLS, EHLO, login.

        Raises:
            _Ended: with scope `provider` or `sender`: none of this is a letter's fault.
        """
        phase: Phase = "connect"
        try:
            wire = self._dial()
            phase = "tls"
            if self._settings.security == "starttls":
                self._start_tls(wire)
            phase = "login"
            if self._settings.username:
                wire.login(self._settings.username, self._settings.password or "")
        except smtplib.SMTPResponseException as error:
            self._drop()
            raise _Ended(self._not_let_in(error, phase)) from None
        except (OSError, UnicodeError) as error:
            self._drop()
            refused = isinstance(error, smtplib.SMTPException | UnicodeError) and not isinstance(
                error, smtplib.SMTPServerDisconnected
            )
            scope: Literal["sender", "provider"] = "sender" if refused and phase == "login" else "provider"
            raise _Ended(Receipt(outcome="retry", reply=self._said(error), phase=phase, scope=scope)) from None
        wire.command_encoding = "utf-8"
        return wire

    def _dial(self) -> smtplib.SMTP:
        settings = self._settings
        # Given a name, smtplib asks no DNS for its own; the nameless give an address literal (RFC 5321 §4.1.3).
        own_name = socket.gethostname()
        own_name = own_name if "." in own_name and own_name.isascii() else "[127.0.0.1]"
        if settings.security == "tls":
            wire: smtplib.SMTP = _TlsReplies(
                settings.host,
                settings.port,
                local_hostname=own_name,
                timeout=settings.timeout_s,
                context=self._context(),
            )
        else:
            wire = _StrictReplies(settings.host, settings.port, local_hostname=own_name, timeout=settings.timeout_s)
        self._wire = wire
        if wire.sock is not None:
            wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._greet(wire)
        return wire

    def _start_tls(self, wire: smtplib.SMTP) -> None:
        if not wire.has_extn("starttls"):
            message = "the server offers no STARTTLS, and `security: starttls` forbids going on without"
            raise _Lost(message)
        code, text = wire.starttls(context=self._context())
        if code != GREETED:
            raise smtplib.SMTPResponseException(code, text)
        self._greet(wire)

    def _greet(self, wire: smtplib.SMTP) -> None:
        code, text = wire.ehlo()
        if not OK_FROM <= code <= OK_TO:
            code, text = wire.helo()
        if not OK_FROM <= code <= OK_TO:
            raise smtplib.SMTPHeloError(code, text)

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.ca)

    def _not_let_in(self, error: smtplib.SMTPResponseException, phase: Phase) -> Receipt:
        text = error.smtp_error if isinstance(error.smtp_error, bytes) else str(error.smtp_error).encode()
        reply = self._reply(error.smtp_code, text)
        if reply.code < TEMPORARY_FROM:
            return Receipt(outcome="retry", reply=f"unexpected {reply}", phase=phase, scope="provider")
        return judge(reply, phase)

    def _command(self, command: str) -> Reply:
        if self._wire is None:
            message = "not connected"
            raise _Lost(message)
        return self._reply(*self._wire.docmd(command))

    def _reply(self, code: int, text: bytes) -> Reply:
        return Reply(code, one_line(text.decode("utf-8", "replace"), self._settings.password))

    def _said(self, error: Exception) -> str:
        """An error of the line in words, without secrets."""
        match error:
            case UnicodeError():
                said = "the host, user name or password holds what SMTP cannot carry"
            case ssl.SSLCertVerificationError():
                said = f"certificate not trusted: {error.verify_message}"
            case TimeoutError():
                said = "timed out"
            case _:
                said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return one_line(f"{self._settings.host}:{self._settings.port}: {said}", self._settings.password)

    def _reset(self) -> None:
        """Forget the envelope; a line that cannot is dropped."""
        try:
            if OK_FROM <= self._command("RSET").code <= OK_TO:
                return
        except OSError:
            pass
        self._drop()

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()


def _wired(letter: Letter) -> _Mail:
    """Quote a letter's body, before the point of no return and not after.

    Raises:
        NotAnAddress: the sender or the recipient is none.
    """
    if not isinstance(letter.payload, bytes):
        message = "payload is no e-mail"
        raise NotAnAddress(message)
    sender, recipient = wire_address(letter.sender), wire_address(letter.recipient)
    utf8 = not (sender.isascii() and recipient.isascii())
    body = quoted(letter.payload)
    return _Mail(sender, recipient, body, len(letter.payload), utf8)


def quoted(payload: bytes) -> bytes:
    r"""A message as DATA wants it: lines end in CRLF, leading dots are doubled, then `.` (RFC 5321 §4.5.2)."""
    if not payload.count(b"\n") == payload.count(b"\r") == payload.count(b"\r\n"):
        payload = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if payload.startswith(b"."):
        payload = b"." + payload
    payload = payload.replace(b"\r\n.", b"\r\n..")
    return payload + (b".\r\n" if payload.endswith(b"\r\n") else b"\r\n.\r\n")
