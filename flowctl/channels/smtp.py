"""E-mail by SMTP: smtplib driven verb by verb, so that it is always known whether a letter can have left."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowctl.channels.address import NotAnAddress, wire_address
from flowctl.channels.channel import FENCED, Letter, Phase, Receipt, one_line
from flowctl.channels.dialogue import CONNECT, LEAVE, Connect, Dialogue, Leave, Pause, Talk, Wish
from flowctl.channels.pace import Pace
from flowctl.channels.replies import CLOSING, GO_AHEAD, OK_FROM, OK_TO, TEMPORARY_FROM, Reply, judge
from flowctl.channels.smtp_wire import END, Lost, TlsWire, Wire, lined, stuffed

if TYPE_CHECKING:
    from collections.abc import Generator

    from flowctl.channels.channel import Commit
    from flowctl.channels.lines import Lines

GREETED = 220
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
    pipelining: bool = True  # where the server offers it
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

    def sender(self) -> Lines:
        """All connections at work at once; see `pool.Sender`."""
        from flowctl.channels.lines import Lines  # noqa: PLC0415 - it drives the connections that are made here

        return Lines(self)


class _Ended(Exception):
    """An attempt ended in the safe phase; `gone` where the line is dead and a new one might do better."""

    def __init__(self, receipt: Receipt, *, gone: bool = False) -> None:
        super().__init__(receipt.reply)
        self.receipt = receipt
        self.gone = gone


class _Mail(NamedTuple):
    """A letter as it goes over the wire: dots stuffed, the end of data included."""

    sender: str
    recipient: str
    body: bytes
    size_bytes: int
    utf8: bool


class SmtpConnection:
    """One line to the server, kept open between letters.

    What is said over it is a `Dialogue`, which does no I/O: `transmit` holds it alone and waits, `lines` holds many at once.
    """

    def __init__(self, settings: SmtpSettings, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self.wire: Wire | None = None
        self._parting = False
        self.listen = Talk(b"", settings.timeout_s)

    def __repr__(self) -> str:
        return f"SmtpConnection({self._settings!r})"

    def transmit(self, letter: Letter, commit: Commit) -> Receipt:
        """Send one e-mail; see `channel.Connection`."""
        dialogue = self.dialogue(letter)
        try:
            wish = next(dialogue)
            while True:
                try:
                    answer = self._granted(wish, commit)
                except BaseException as error:  # noqa: BLE001 - the dialogue knows what it means, or lets it out
                    wish = dialogue.throw(error)
                else:
                    wish = dialogue.send(answer)
        except StopIteration as end:
            receipt: Receipt = end.value
            return receipt

    def dialogue(self, letter: Letter) -> Dialogue:
        """What there is to say to send one e-mail, and what its answers mean."""
        try:
            mail = _wired(letter)
        except NotAnAddress as error:
            return Receipt(outcome="failed", reply=one_line(str(error)), phase="open")
        try:
            awaited = yield from self._address(mail)
        except _Ended as ended:
            return ended.receipt
        try:
            may_go = yield LEAVE
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._withdraw(awaited=awaited)
            raise
        if not may_go:
            yield from self._withdraw(awaited=awaited)
            return FENCED
        if self.wire is None or self.wire.is_spent:  # since leave was asked for
            return self._broken(Lost("the line ended before the text was said"), "data").receipt
        if not awaited:
            try:
                yield from self._say_data()
            except _Ended as ended:
                return ended.receipt
        return (yield from self._hand_over(mail, leads=awaited and self._pace.is_free))

    def heard(self) -> Reply | None:
        """The next complete reply that came over the line, or None. Raises `Lost`."""
        found = self.wire.heard() if self.wire else None
        return found and _reply(*found, self._settings.password)

    def reach(self) -> str | None:
        """Connect and log in, and send nothing; what went wrong, or None."""
        try:
            self.connect()
        except _Ended as ended:
            return ended.receipt.reply
        return None

    def say_goodbye(self) -> None:
        """QUIT; `close` then waits for the answer."""
        if self.wire is not None and not self._parting:
            self._parting = True
            with contextlib.suppress(OSError):
                if self.wire.sock is not None:
                    self.wire.sock.settimeout(QUIT_TIMEOUT_S)
                self.wire.putcmd("quit")

    def close(self) -> None:
        """QUIT, whose answer nobody needs."""
        self.say_goodbye()
        wire, self.wire = self.wire, None
        self._parting = False
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.getreply()
            wire.close()

    def hang_up(self) -> None:
        """Close the line without a word; the next letter opens another."""
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.close()

    def _granted(self, wish: Wish, commit: Commit) -> object:
        """What a dialogue wishes, by waiting for it."""
        match wish:
            case Talk():
                wire = self.wire
                if wire is None or wire.sock is None:
                    message = "not connected"
                    raise Lost(message)
                wire.sock.settimeout(wish.timeout_s)
                if wish.data:
                    wire.sock.sendall(wish.data)
                return self._reply(*wire.getreply())
            case Pause():
                self._pace.sleep(wish.seconds)
            case Connect():
                self.connect()
            case Leave():
                return commit()
        return None

    def _address(self, mail: _Mail) -> Generator[Wish, Any, bool]:
        """The safe phase; returns whether the server awaits the text already.

        Servers close lines that idled or did their share, so a reused line gets one successor.
        """
        reused = self.wire is not None
        try:
            return (yield from self._envelope(mail))
        except _Ended as ended:
            if not (reused and ended.gone):
                raise
            return (yield from self._envelope(mail))

    def _envelope(self, mail: _Mail) -> Generator[Wish, Any, bool]:
        if self.wire is not None and self.wire.is_spent:
            self.hang_up()  # it is closing, or out of step
        if self.wire is None:
            yield CONNECT
        wire = self.wire
        assert wire is not None  # noqa: S101 - what cannot connect has raised
        options = self._options(wire, mail)
        if (seconds := self._pace.turn()) > 0:
            yield Pause(seconds)
        sender, recipient = f"MAIL FROM:<{mail.sender}>{options}", f"RCPT TO:<{mail.recipient}>"
        if wire.offers.pipelining and self._settings.pipelining:
            yield from self._say_all(sender, recipient)
            return True
        yield from self._say(sender, "mail")
        yield from self._say(recipient, "rcpt")
        return False

    def _options(self, wire: Wire, mail: _Mail) -> str:
        """The parameters of MAIL; refuses here what the server has said it will not take."""
        options, offers = "", wire.offers
        if offers.size:
            if 0 < offers.size_bytes_max < mail.size_bytes:
                reply = f"message of {mail.size_bytes} bytes is over the server's limit of {offers.size_bytes_max}"
                raise _Ended(Receipt(outcome="failed", reply=reply, phase="mail"))
            options += f" SIZE={mail.size_bytes}"
        if mail.utf8:
            if not offers.utf8:
                reply = "the server cannot write to an address beyond ASCII (no SMTPUTF8)"
                raise _Ended(Receipt(outcome="failed", reply=reply, phase="mail"))
            options += " SMTPUTF8 BODY=8BITMIME"
        return options

    def _say(self, command: str, phase: Phase) -> Generator[Wish, Any, None]:
        """One command of the safe phase; anything but 2xx ends the attempt and leaves a clean line, or none."""
        try:
            reply = yield self._talk(command)
        except (OSError, UnicodeError) as error:
            raise self._broken(error, phase) from None
        yield from self._taken(reply, phase)

    def _say_all(self, sender: str, recipient: str) -> Generator[Wish, Any, None]:
        """MAIL, RCPT and DATA in one journey (RFC 2920): where the server is far away, that is most of a letter's time.

        All replies are read whatever the first one says, so that the line stays in step. DATA itself says nothing of the letter:
        a server whose line ends before the text and its dot has nothing to deliver.
        """
        phases: tuple[Phase, Phase] = ("mail", "rcpt")
        wish = self._talk(f"{sender}\r\n{recipient}\r\nDATA")
        for nth, phase in enumerate(phases):
            try:
                # Most often the replies have come together.
                reply: Reply = (nth and self.heard()) or (yield wish)
            except (OSError, UnicodeError) as error:
                raise self._broken(error, phase) from None
            wish = self.listen
            if not OK_FROM <= reply.code <= OK_TO:
                yield from self._hear_out(len(phases) - nth)
                yield from self._taken(reply, phase)
        yield from self._say_data(wish)

    def _hear_out(self, replies: int) -> Generator[Wish, Any, None]:
        """What follows a refusal says nothing, and may not come; a server that awaits a text all the same is hung up on."""
        with contextlib.suppress(OSError):
            for _ in range(replies):
                reply: Reply = yield self.listen
                if reply.code == GO_AHEAD:
                    self.hang_up()
                    return

    def _say_data(self, wish: Talk | None = None) -> Generator[Wish, Any, None]:
        """DATA; any answer but "go ahead" ends the attempt. Until the first byte of the text is written, nothing can have been accepted."""
        try:
            reply: Reply = (wish and self.heard()) or (yield wish or self._talk("DATA"))
        except OSError as error:
            raise self._broken(error, "data") from None
        if reply.code == GO_AHEAD:
            if self.wire is not None and self.wire.is_spent:
                raise self._broken(Lost("the server spoke out of turn"), "data")
            return
        if reply.code < TEMPORARY_FROM:
            self.hang_up()
            raise _Ended(Receipt(outcome="retry", reply=f"unexpected {reply}", phase="data"))
        if reply.code == CLOSING:
            self.hang_up()
        else:
            yield from self._reset()
        raise _Ended(judge(reply, "data"), gone=reply.code == CLOSING)

    def _broken(self, error: Exception, phase: Phase) -> _Ended:
        self.hang_up()
        # Before RCPT nobody was named, so a line that breaks there says something about the provider.
        scope: Literal["provider", "message"] = "provider" if phase == "mail" else "message"
        receipt = Receipt(outcome="retry", reply=self._said(error), phase=phase, scope=scope)
        return _Ended(receipt, gone=True)

    def _taken(self, reply: Reply, phase: Phase) -> Generator[Wish, Any, None]:
        """A reply that says yes; any other ends the attempt and leaves a clean line, or none."""
        if OK_FROM <= reply.code <= OK_TO:
            return
        if reply.code < TEMPORARY_FROM:
            self.hang_up()
            raise _Ended(Receipt(outcome="retry", reply=f"unexpected {reply}", phase=phase), gone=True)
        if reply.code == CLOSING:
            self.hang_up()
        else:
            yield from self._reset()
        raise _Ended(judge(reply, phase), gone=reply.code == CLOSING)

    def _hand_over(self, mail: _Mail, *, leads: bool) -> Dialogue:
        """Past the point of no return. RFC 2920 §3.1 has the next letter's first words follow the text, where its pace allows it."""
        try:
            reply: Reply = yield Talk(mail.body, self._settings.final_timeout_s, leads)
        except OSError as error:
            self.hang_up()
            return Receipt(outcome="in_doubt", reply=self._said(error), phase="body")
        if OK_FROM <= reply.code <= OK_TO:
            return _accepted(reply.code, reply.text)
        if reply.code < TEMPORARY_FROM:
            self.hang_up()
            return Receipt(outcome="in_doubt", reply=f"unexpected {reply}", phase="body")
        if reply.code == CLOSING:
            self.hang_up()
        return judge(reply, "body")

    def connect(self) -> None:
        """Connect, TLS, EHLO, login; waits.

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
            self.hang_up()
            raise _Ended(self._not_let_in(error, phase)) from None
        except (OSError, UnicodeError) as error:
            self.hang_up()
            refused = isinstance(error, smtplib.SMTPException | UnicodeError) and not isinstance(
                error, smtplib.SMTPServerDisconnected
            )
            scope: Literal["sender", "provider"] = "sender" if refused and phase == "login" else "provider"
            raise _Ended(Receipt(outcome="retry", reply=self._said(error), phase=phase, scope=scope)) from None

    def _dial(self) -> Wire:
        settings = self._settings
        # Given a name, smtplib asks no DNS for its own; the nameless give an address literal (RFC 5321 §4.1.3).
        own_name = socket.gethostname()
        own_name = own_name if "." in own_name and own_name.isascii() else "[127.0.0.1]"
        if settings.security == "tls":
            wire: Wire = TlsWire(
                settings.host,
                settings.port,
                local_hostname=own_name,
                timeout=settings.timeout_s,
                context=self._context(),
            )
        else:
            wire = Wire(settings.host, settings.port, local_hostname=own_name, timeout=settings.timeout_s)
        self.wire = wire
        if wire.sock is not None:
            wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._greet(wire)
        return wire

    def _start_tls(self, wire: Wire) -> None:
        if not wire.has_extn("starttls"):
            message = "the server offers no STARTTLS, and `security: starttls` forbids going on without"
            raise Lost(message)
        code, text = wire.starttls(context=self._context())
        wire.forget()
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

    def _talk(self, command: str) -> Talk:
        return Talk(f"{command}\r\n".encode(), self._settings.timeout_s)

    def _reply(self, code: int, text: bytes) -> Reply:
        return _reply(code, text, self._settings.password)

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

    def _withdraw(self, *, awaited: bool) -> Generator[Wish, Any, None]:
        """Leave a letter after all: who is awaiting its text can only be hung up on."""
        if awaited:
            self.hang_up()
        else:
            yield from self._reset()

    def _reset(self) -> Generator[Wish, Any, None]:
        """Forget the envelope; a line that cannot is dropped."""
        try:
            reply: Reply = yield self._talk("RSET")
        except OSError:
            self.hang_up()
            return
        if not OK_FROM <= reply.code <= OK_TO:
            self.hang_up()


@lru_cache(maxsize=256)
def _reply(code: int, text: bytes, password: str | None) -> Reply:
    """Most replies are the same for every letter."""
    return Reply(code, one_line(text.decode("utf-8", "replace"), password))


@lru_cache(maxsize=256)
def _accepted(code: int, text: str) -> Receipt:
    """The same for every letter, unless the server numbers them."""
    return Receipt(outcome="sent", reply=str(Reply(code, text)), phase="body")


_sender = lru_cache(maxsize=64)(wire_address)  # few send to many


def _wired(letter: Letter) -> _Mail:
    """Quote a letter's body, before the point of no return and not after.

    Raises:
        NotAnAddress: the sender or the recipient is none.
    """
    if not isinstance(letter.payload, bytes):
        message = "payload is no e-mail"
        raise NotAnAddress(message)
    if letter.wired:
        sender, recipient = letter.sender, letter.recipient
        body = letter.payload + END if letter.undotted else stuffed(letter.payload)
    else:
        sender, recipient, body = _sender(letter.sender), wire_address(letter.recipient), stuffed(lined(letter.payload))
    utf8 = not (sender.isascii() and recipient.isascii())
    return _Mail(sender, recipient, body, len(letter.payload), utf8)
