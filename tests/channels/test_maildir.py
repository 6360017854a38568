from __future__ import annotations

import mailbox
import stat

from flowctl.channels.registry import make_channel
from tests.conformance.letters import a_letter


def maildir(path):
    return make_channel("email", {"adapter": "maildir", "path": str(path)}).open()


def test_a_mail_reader_opens_it(tmp_path):
    writer = maildir(tmp_path / "mail")
    for name in ("ana", "bob"):
        assert writer.transmit(a_letter(name), lambda: True).outcome == "sent"
    box = mailbox.Maildir(tmp_path / "mail", create=False)
    assert sorted(message["To"] for message in box) == ["ana@example.com", "bob@example.com"]
    assert list((tmp_path / "mail" / "tmp").iterdir()) == []


def test_a_letter_written_twice_is_one_file(tmp_path):
    for _ in range(2):
        maildir(tmp_path).transmit(a_letter(), lambda: True)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["key-ana.eml"]


def test_a_key_cannot_leave_the_folder(tmp_path):
    letter = a_letter(key="../../evil:2,S")
    assert maildir(tmp_path / "mail").transmit(letter, lambda: True).outcome == "sent"
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]
    assert len(list((tmp_path / "mail" / "new").iterdir())) == 1


def test_only_the_owner_reads_it(tmp_path):
    maildir(tmp_path / "mail").transmit(a_letter(), lambda: True)
    assert stat.S_IMODE((tmp_path / "mail").stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((tmp_path / "mail" / "new" / "key-ana.eml").stat().st_mode) == 0o600


def test_nothing_is_left_of_a_letter_that_was_fenced(tmp_path):
    maildir(tmp_path).transmit(a_letter(), lambda: False)
    assert [file for folder in ("tmp", "new", "cur") for file in (tmp_path / folder).iterdir()] == []
