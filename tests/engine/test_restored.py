"""A store restored from a copy refuses to send until somebody adopts it; then nothing that may have left leaves again unasked."""

from __future__ import annotations

import shutil

import pytest

from flowctl.channels.recording import RecordingChannel
from flowctl.engine.apply import apply
from flowctl.engine.by_hand import resolve
from flowctl.engine.restored import adopt
from flowctl.failure import UsageFailure
from flowctl.report.status import status
from flowctl.store import sending
from flowctl.store.backup import backup
from flowctl.store.database import open_store
from flowctl.store.sending import NotTheNewest, SendingRecord
from tests.engine.world import SETTINGS, World, at, project, workflow

JOURNEY = (
    workflow(
        "w",
        steps="- send: hello\n  via: email\n- wait: 2h\n- send: bye\n  via: email\n- wait: 1d\n- send: again\n  via: email",
    ),
    workflow("r", triggers="[{event: purchase}]", steps="- wait: 2h\n- send: receipt\n  via: email"),
)


class Threaded(RecordingChannel):
    inline = False


def world_at(path, channel=None) -> World:
    """An opened store with a channel of its own, as another process would have."""
    world = object.__new__(World)
    world.store = open_store(path, create=False)
    world.connection = world.store.connection
    world.channel = channel or Threaded()
    world.now = at("0m")
    return world


@pytest.fixture
def lost(tmp_path):
    """A copy made at 1 h, of a store that went on to 3 h and sent meanwhile."""
    world = World(*JOURNEY, path=tmp_path / "s.db", channel=Threaded())
    for key in ("ana", "bob"):
        world.contact(key)
        world.event(key, "signup", at("1m"))
    world.event("bob", "purchase", at("2m"))
    world.ticks("5m", "1h")
    backup(world.store, tmp_path / "copy.db")
    world.ticks("2h", "2h10m", "3h")
    assert sorted(row[:2] for row in world.sent()) == [
        ("ana", "bye"), ("ana", "hello"), ("bob", "bye"), ("bob", "hello"), ("bob", "receipt"),
    ]  # fmt: skip
    world.store.close()
    return world


def restore(tmp_path) -> World:
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"s.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy.db", tmp_path / "s.db")
    return world_at(tmp_path / "s.db")


def test_a_store_that_is_the_newest_sends_on(lost, tmp_path):
    world = world_at(tmp_path / "s.db")
    assert world.tick(at("1d3h")).sent == 2
    with pytest.raises(UsageFailure, match="nothing to adopt"):
        adopt(world.store, resend="none", until=None, now=at("1d4h"))


def test_a_restored_copy_refuses_and_changes_nothing(lost, tmp_path):
    world = restore(tmp_path)
    before = world.books()
    for _ in range(2):
        with pytest.raises(
            NotTheNewest, match=r"older than its own sending record: \d batches .* the last at 2026-03-02T12:10:00Z"
        ):
            world.tick(at("4h"))
    assert world.channel.asked == []
    assert world.books() == before
    assert "older" in status(world.store, now=at("4h")).refusal


def test_adopted_it_sends_nothing_that_may_have_left_and_goes_on(lost, tmp_path):
    world = restore(tmp_path)
    done = adopt(world.store, resend="none", until=None, now=at("4h"))
    assert (done.known_until, done.sent_until, done.due) == (at("1h"), at("2h10m"), 3)
    world.ticks("4h", "5h")
    assert world.channel.transmitted == []
    assert sorted(world.outbox()[2:]) == [
        ("bye", "email", "in_doubt", "restored"), ("bye", "email", "in_doubt", "restored"), ("receipt", "email", "in_doubt", "restored"),
    ]  # fmt: skip
    assert world.states("r", "bob") == [("completed", None)]
    world.ticks("1d5h")
    assert sorted(row[:2] for row in world.sent()) == [("ana", "again"), ("bob", "again")]
    # The keys are those of the lost store: a bounce or a status that comes for one of its messages finds it.
    doubtful = {key for (key,) in world.connection.execute("SELECT key FROM outbox WHERE state = 5")}
    assert doubtful < {letter.key for letter in lost.channel.transmitted}


def test_a_resend_may_be_ordered_for_all_or_for_transactional_ones(lost, tmp_path):
    world = restore(tmp_path)
    adopt(world.store, resend="transactional", until=None, now=at("4h"))
    world.ticks("4h")
    assert [row[:2] for row in world.sent()] == [("bob", "receipt")]
    first = next(letter for letter in lost.channel.transmitted if letter.key == world.channel.transmitted[0].key)
    assert first.message_id == world.channel.transmitted[0].message_id
    world.store.close()
    world = restore(tmp_path)
    adopt(world.store, resend="all", until=None, now=at("4h"))
    world.ticks("4h")
    assert sorted(row[:2] for row in world.sent()) == [("ana", "bye"), ("bob", "bye"), ("bob", "receipt")]


def test_one_of_them_is_sent_where_a_person_says_so(lost, tmp_path):
    world = restore(tmp_path)
    adopt(world.store, resend="none", until=None, now=at("4h"))
    world.ticks("4h")
    (key,) = world.connection.execute(
        "SELECT o.key FROM outbox o JOIN contacts c ON c.id = o.contact_id WHERE o.state = 5 AND c.key = 'ana'"
    ).fetchone()
    resolve(world.connection, key, "resend", now=at("5h"))
    world.ticks("5h")
    assert [row[:2] for row in world.sent()] == [("ana", "bye")]


def test_what_was_in_hand_when_the_copy_was_made_is_in_doubt(tmp_path):
    """A copy made in the middle of a tick holds claimed messages, which then left."""
    copied = []

    class Copying(Threaded):
        def transmit(self, letter, commit):
            if not copied:
                copied.append(True)
                other = open_store(tmp_path / "s.db", create=False)
                backup(other, tmp_path / "copy.db")
                other.close()
            return super().transmit(letter, commit)

    world = World(*JOURNEY, path=tmp_path / "s.db", channel=Copying())
    for number in range(6):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    world.ticks("5m")
    assert len(world.channel.transmitted) == 6
    world.store.close()
    again = restore(tmp_path)
    assert {row[2] for row in again.outbox()} == {"claimed"}
    adopt(again.store, resend="none", until=None, now=at("10m"))
    again.ticks("10m")
    assert again.channel.transmitted == []
    assert {row[2:] for row in again.outbox()} == {("in_doubt", "restored")}


def test_what_is_new_after_adopting_is_sent(lost, tmp_path):
    world = restore(tmp_path)
    adopt(world.store, resend="none", until=None, now=at("4h"))
    world.contact("eve")
    world.event("eve", "signup", at("4h1m"))
    world.ticks("4h5m")
    assert [row[:2] for row in world.sent()] == [("eve", "hello")]


def test_a_store_that_moves_takes_its_record_along(lost, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    (tmp_path / "s.db").rename(away / "s.db")
    world = world_at(away / "s.db")
    with pytest.raises(NotTheNewest, match="is not there"):
        world.tick(at("1d3h"))
    (tmp_path / "s.db.sent").rename(away / "s.db.sent")
    assert world.tick(at("1d3h")).sent == 2
    assert (away / "s.db.sent").read_text().endswith(f"\nat {away / 's.db'}\n")


def both_copied(tmp_path, name: str = "away") -> World:
    """A copy of the whole folder, record and all."""
    (tmp_path / name).mkdir()
    for file in ("s.db", "s.db.sent"):
        shutil.copy(tmp_path / file, tmp_path / name / file)
    return world_at(tmp_path / name / "s.db")


def test_a_copy_beside_the_store_it_was_made_of_refuses_and_the_other_goes_on(lost, tmp_path):
    copy = both_copied(tmp_path)
    before = copy.books()
    with pytest.raises(
        NotTheNewest, match=f"is a copy of the store {tmp_path / 's.db'}, which is still there: both"
    ) as refusal:
        copy.tick(at("1d3h"))
    assert "delete or rename the other" in refusal.value.help
    assert copy.books() == before
    assert "is a copy" in status(copy.store, now=at("1d3h")).refusal
    world = world_at(tmp_path / "s.db")
    assert world.tick(at("1d3h")).sent == 2
    world.store.close()
    with pytest.raises(NotTheNewest, match="has sent 2 batches of messages since"):
        copy.tick(at("1d4h"))


def test_a_copy_goes_on_when_the_other_is_gone_or_renamed(lost, tmp_path):
    copy = both_copied(tmp_path)
    (tmp_path / "s.db").rename(tmp_path / "old.db")
    assert copy.tick(at("1d3h")).sent == 2


def test_a_copy_that_is_adopted_sends_nothing_that_the_other_sent(lost, tmp_path):
    copy = both_copied(tmp_path)
    world = world_at(tmp_path / "s.db")
    assert world.tick(at("1d3h")).sent == 2
    world.store.close()
    assert adopt(copy.store, resend="none", until=None, now=at("1d4h")).sent_until == at("1d3h")
    copy.ticks("1d4h", "1d5h")
    assert copy.channel.transmitted == []
    assert sorted(row[0] for row in copy.outbox() if row[2] == "in_doubt") == ["again", "again"]
    with pytest.raises(UsageFailure, match="nothing to adopt"):
        adopt(copy.store, resend="none", until=None, now=at("1d6h"))


@pytest.mark.parametrize("how", ["symlink", "hard link", "folder"])
def test_the_same_store_by_another_name_is_no_copy(lost, tmp_path, how):
    other = tmp_path / "other"
    if how == "folder":
        other.symlink_to(tmp_path)
    else:
        other.mkdir()
        for file in ("s.db", "s.db.sent"):
            link = (other / file).symlink_to if how == "symlink" else (other / file).hardlink_to
            link(tmp_path / file)
    world = world_at(other / "s.db")
    assert world.tick(at("1d3h")).sent == 2


@pytest.mark.parametrize("text", ["at ", "at /nowhere/s.db\n", "at /nowhere", "", "at \x00\n"])
def test_a_record_that_does_not_say_where_its_store_lay_stops_nothing(lost, tmp_path, text):
    record = tmp_path / "s.db.sent"
    record.write_text(record.read_text().partition("\n")[0] + "\n" + text)
    world = world_at(tmp_path / "s.db")
    assert world.tick(at("1d3h")).sent == 2
    assert record.read_text().endswith(f"\nat {tmp_path / 's.db'}\n")


def test_without_a_record_until_says_when_the_lost_store_sent_last(lost, tmp_path):
    world = restore(tmp_path)
    (tmp_path / "s.db.sent").unlink()
    with pytest.raises(UsageFailure, match="future"):
        adopt(world.store, resend="none", until=at("1d"), now=at("4h"))
    done = adopt(world.store, resend="none", until=at("2h2m"), now=at("4h"))
    assert done.sent_until == at("2h2m")
    world.ticks("4h")
    # Three were due by 2 h 5 min after they came in; the receipt was due at 2 h 2 min, the two others later.
    assert sorted(row[0] for row in world.sent()) == ["ana", "bob"]
    assert [row[0] for row in world.outbox() if row[2] == "in_doubt"] == ["receipt"]


def test_a_new_store_beside_an_old_record_sends(lost, tmp_path):
    for file in tmp_path.glob("s.db*"):
        if not file.name.endswith(".sent"):
            file.unlink()
    fresh = World(*JOURNEY, path=tmp_path / "s.db", channel=Threaded())
    fresh.contact("ana")
    fresh.event("ana", "signup", at("1m"))
    assert fresh.tick(at("5m")).sent == 1


@pytest.mark.parametrize("text", ["", "nonsense\n", "flowctl-sending 1 x 1 1\n"])
def test_a_damaged_record_refuses_and_can_be_adopted(lost, tmp_path, text):
    (tmp_path / "s.db.sent").write_text(text)
    world = world_at(tmp_path / "s.db")
    with pytest.raises(NotTheNewest, match="no sending record"):
        world.tick(at("1d3h"))
    adopt(world.store, resend="none", until=None, now=at("3h"))
    assert world.tick(at("1d3h")).sent == 2


def test_nothing_leaves_where_the_record_cannot_be_written(tmp_path, monkeypatch):
    world = World(*JOURNEY, path=tmp_path / "s.db", channel=Threaded())
    world.contact("ana")
    world.event("ana", "signup", at("1m"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sending.os, "fdatasync", full)
    with pytest.raises(sending.Failure, match="No space left on device"):
        tick_of(world)
    assert world.channel.transmitted == []
    monkeypatch.undo()
    world.ticks("10m", "20m")
    # The batch was past its commit: for all that is known it may have left.
    assert world.outbox()[0][2] == "in_doubt"


TEAM = SETTINGS + "teams: {sales: {members: [lea], email: sales@example.com}}\n"


@pytest.mark.parametrize(("resend", "alerts"), [("none", 0), ("transactional", 2)])
def test_alerts_that_may_have_left_are_in_doubt_too(resend, alerts, tmp_path):
    """One waited in the copy, one step was due after it was made."""
    flow = workflow("w", steps="- send: hello\n  via: email\n- wait: 2h\n- notify: {team: sales}\n  text: Hello")
    world = World(flow, path=tmp_path / "s.db", settings=TEAM, channel=Threaded())
    for key, when, tick_at in (("ana", "1m", "2m"), ("bob", "10m", "20m")):
        world.contact(key)
        world.event(key, "signup", at(when))
        world.tick(at(tick_at))
    world.tick(at("2h5m"))
    world.connection.execute("UPDATE notices SET state = 0, ready_at = at, settled_at = NULL")
    assert world.connection.execute("SELECT count(*) FROM notices").fetchone() == (1,)
    backup(world.store, tmp_path / "copy.db")
    world.ticks("2h6m", "2h25m")
    world.store.close()
    world = restore(tmp_path)
    (tmp_path / "s.db.sent").unlink(missing_ok=True)
    adopt(world.store, resend=resend, until=at("3h"), now=at("4h"))
    world.ticks("4h", "5h")
    assert sum(letter.key.startswith("notice") for letter in world.channel.transmitted) == alerts
    states = world.connection.execute("SELECT state FROM notices").fetchall()
    assert states == [(2 if alerts else 4,)] * 2
    assert world.tick(at("6h")).notified == 0


def tick_of(world):
    from flowctl.engine.compiled import CHANNELS
    from flowctl.engine.tick import tick

    return tick(world.store, now=at("5m"), channels=dict.fromkeys(CHANNELS, world.channel))


def test_the_record_is_never_ahead_of_the_store_that_wrote_it(tmp_path):
    world = World(*JOURNEY, path=tmp_path / "s.db")
    seen = []

    def look():
        other = open_store(tmp_path / "s.db", create=False)
        seen.append((SendingRecord(other).read().batch, SendingRecord(other).batch))
        other.close()

    world.channel = Looking(look)
    for number in range(9):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    world.ticks("5m")
    assert len(seen) == 9
    assert all(0 < record <= store for record, store in seen)
    assert (tmp_path / "s.db.sent").stat().st_mode & 0o777 == 0o600


class Looking(Threaded):
    """Looks after commit, at the point of no return."""

    def __init__(self, look) -> None:
        super().__init__()
        self._look = look

    def transmit(self, letter, commit):
        def looked() -> bool:
            may = commit()
            self._look()
            return may

        return super().transmit(letter, looked)


def test_a_restored_backup_is_in_wal_mode_again(lost, tmp_path):
    world = restore(tmp_path)
    assert world.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_apply_and_imports_go_on_while_it_refuses(lost, tmp_path):
    world = restore(tmp_path)
    apply(world.store, project(*JOURNEY), commit="def", now=at("4h"))
    world.contact("eve")
