"""`make demo`: the CDNOW project checked, applied, simulated and run for ten days against a mail server, with its real commands."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".demo"
PROJECT = HOME / "cdnow"
MAILBOX = HOME / "mailbox"
FIRST_DAY = date(1997, 3, 17)
DAYS = 10
EVENING = "T18:30:00-05:00"
ON_TERMINAL = sys.stdout.isatty()
COLOURED = ON_TERMINAL and not os.environ.get("NO_COLOR")
# On a terminal somebody watches: time to read a heading. Set to 0 to hurry.
PAUSE_S = float(os.environ.get("DEMO_PAUSE_S", "0.7" if ON_TERMINAL else "0"))


def main() -> int:
    """Tell the whole story; a command that fails ends it."""
    began = time.monotonic()
    prepare()
    with mail_server() as port:
        os.environ |= {"SMTP_PORT": str(port), "FLOWCTL_NOW": f"{FIRST_DAY}T18:00:00-05:00"}
        os.environ |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        os.environ.pop("FLOWCTL_STORE", None)
        files()
        release()
        people()
        future()
        days()
        questions()
    say(
        f"\n{time.monotonic() - began:.0f} seconds. The project, its store and its {len(mails())} mails are in {HOME.name}/; look around:"
    )
    say(f"  cd {PROJECT.relative_to(ROOT)} && ../../.venv/bin/flowctl --help\n")
    return 0


def files() -> None:
    """The project's files, and what checking them says."""
    heading(
        "A journey is a file",
        "Three journeys for a CD shop; customers and purchases are real (CDNOW, 1997). This is one of them:",
    )
    run("cat second-purchase/second-purchase.yaml")
    heading(
        "Files are checked before anything runs",
        "Two slips of the hand in two files; every fault is shown where it stands:",
    )
    one = spoilt("second-purchase/second-purchase.yaml", "wait: 7d", "wait: 7")
    other = spoilt("reactivation/reactivation.yaml", "enters: lapsed", "enters: lapsd")
    with one, other:
        run("flowctl validate", expect=1)
    run("flowctl validate")
    run("flowctl lint")
    heading(
        "Journeys have tests",
        "Scenarios on the real engine, in memory, with a virtual clock; for CI, and before anything is live.",
    )
    run("flowctl test")


def release() -> None:
    """Plan, apply."""
    heading(
        "A release is planned, then applied",
        "Contacts run what was applied from a commit, never the files as they lie about.",
    )
    commit()
    run("flowctl plan")
    run("flowctl apply --yes")


def people() -> None:
    """Contacts and what they bought before."""
    heading("Contacts and their history come in", "History never sends: what is older than a day starts nothing.")
    write_events("history.csv", None, FIRST_DAY)
    run("flowctl contacts import contacts.csv")
    run("flowctl events import history.csv")
    run("flowctl tick")
    run("flowctl segments list")


def future() -> None:
    """Simulate."""
    heading(
        "What will happen, before it does", "The same engine on a copy in memory, with a virtual clock. Nothing leaves."
    )
    run("flowctl simulate --days 10 --seed 1")


def days() -> None:
    """Let the days pass, with their real purchases."""
    heading(
        "Ten days go by",
        "Every evening: that day's purchases, then a tick, as cron would run it. Mails leave through SMTP.",
    )
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        count = write_events("today.csv", day, day + timedelta(days=1))
        before = len(mails())
        os.environ["FLOWCTL_NOW"] = f"{day}{EVENING}"
        run("flowctl -q events import today.csv && flowctl -q tick", quiet=True)
        left = len(mails()) - before
        say(f"  {day:%a %d %b}   {count:>3} purchases   {left:>3} mails  {'✉ ' * left}")
    run("flowctl status")
    heading("One of these mails, as it was received")
    show_mail()


def questions() -> None:
    """Explain, report, audit."""
    heading(
        "Why did this person get this?",
        "Everything that happened to one customer, with the line and the commit behind it:",
    )
    run(f"flowctl explain {somebody()}")
    heading("How do the journeys do?")
    run("flowctl report")
    run("flowctl report second-purchase")
    heading("And do the books balance?")
    run("flowctl audit")


def prepare() -> None:
    """A fresh copy of the project, in a git repository of its own."""
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.copytree(ROOT / "workflows" / "cdnow", PROJECT)
    (PROJECT / ".gitignore").write_text("*.db*\nhistory.csv\ntoday.csv\n", encoding="utf-8")


def commit() -> None:
    """Put the files under git, so that everything later can name a commit; without git it will say `uncommitted`."""
    if shutil.which("git") is None:
        say("(there is no git on this machine: the release will carry no commit)")
        return
    identity = [
        "-c",
        "user.name=Demo",
        "-c",
        "user.email=demo@example.com",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=main",
    ]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Three journeys for the CD shop"]):
        subprocess.run(["git", *identity, *arguments], cwd=PROJECT, check=True, stdin=subprocess.DEVNULL)


def write_events(name: str, since: date | None, until: date) -> int:
    """A file of the purchases of [since, until), by the shop's local date; how many there are."""
    with (PROJECT / "purchases.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    at = header.index("at")
    chosen = [row for row in rows if (since is None or datetime.fromisoformat(row[at]).date() >= since)]
    chosen = [row for row in chosen if datetime.fromisoformat(row[at]).date() < until]
    with (PROJECT / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *chosen])
    return len(chosen)


@contextmanager
def spoilt(name: str, good: str, bad: str) -> Iterator[None]:
    """A file with a mistake in it, for a while."""
    path = PROJECT / name
    text = path.read_text(encoding="utf-8")
    assert good in text
    path.write_text(text.replace(good, bad), encoding="utf-8")
    yield
    path.write_text(text, encoding="utf-8")


@contextmanager
def mail_server() -> Iterator[int]:
    """A mail server in a process of its own, stopped whatever happens; gives its port."""
    command = [sys.executable, "-m", "flowctl.channels.devserver", "--port", "0", "--dir", str(MAILBOX)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline().rpartition(":")[2])
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=10)


def run(line: str, *, expect: int = 0, quiet: bool = False) -> None:
    """Show a command line and run it in the project; end the demo where it does not exit as expected."""
    if not quiet:
        say(f"\n{paint('$', '32')} {paint(line, '1')}")
    done = subprocess.run(["sh", "-c", line], cwd=PROJECT, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != expect:
        raise SystemExit(f"\nthe demo stops here: `{line}` exited {done.returncode}, expected {expect}")
    if not quiet:
        time.sleep(PAUSE_S)


def mails() -> list[Path]:
    """What the server took, in order."""
    return sorted(MAILBOX.glob("*.eml"))


def show_mail() -> None:
    """One mail with its headers and its text part."""
    newest = mails()[-1]
    mail = BytesParser(policy=policy.default).parsebytes(newest.read_bytes())
    say(f"\n{paint('$', '32')} {paint(f'cat ../mailbox/{newest.name}    # headers, and the text part', '1')}")
    for name, value in mail.items():
        say(f"{name}: {value}")
    part = mail.get_body(("plain",))
    say(f"\n{part.get_content().rstrip() if part is not None else ''}")


def somebody() -> str:
    """The key of somebody with a story: one who got a mail, met a goal, and had the most happen."""
    with sqlite3.connect(PROJECT / "flowctl.db") as store:
        row = store.execute(
            "SELECT c.key FROM contacts c JOIN journal j ON j.contact_id = c.id JOIN journal_kinds k ON k.id = j.kind GROUP BY c.id "
            "ORDER BY max(k.name = 'sent') + max(k.name = 'goal') DESC, count(DISTINCT j.version_id) DESC, count(*) DESC, c.key LIMIT 1"
        ).fetchone()
    return shlex.quote(str(row[0]))


def heading(title: str, more: str = "") -> None:
    """Begin a part."""
    say(f"\n{paint(f'── {title} ' + '─' * max(0, 96 - len(title)), '1;36')}")
    if more:
        say(more)
    time.sleep(PAUSE_S)


def paint(text: str, code: str) -> str:
    """Colour, on a terminal."""
    return f"\033[{code}m{text}\033[0m" if COLOURED else text


def say(text: str) -> None:
    """Print at once, so that it stays in order with what the commands print."""
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
