"""A project with a store to which something was applied."""

import json

import pytest

from flowctl.cli.main import main
from flowctl.store import fields
from flowctl.store.database import open_store, transaction

FIELDS = {
    "first_name": {"type": "text"}, "amount": {"type": "number"}, "vip": {"type": "boolean", "default": False},
    "interests": {"type": "tags", "values": ["cookbooks", "toys"]}, "birthday": {"type": "date"},
}  # fmt: skip
RUNTIME = {
    "timezone": "Europe/Paris",
    "events": {"purchase": {"amount": "number", "product": "text"}, "cart_updated": {"items": "integer"}},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder of a project; `store: flowctl.db` stands in it."""
    monkeypatch.delenv("FLOWCTL_STORE", raising=False)
    root = tmp_path / "project"
    root.mkdir()
    (root / "flowctl.yaml").write_text("project: shop\ntimezone: Europe/Paris\n")
    return root


@pytest.fixture
def applied(project):
    """The same, after an apply; an open store to look into."""
    store = open_store(project / "flowctl.db", create=True)
    with transaction(store.connection):
        fields.declare(store.connection, FIELDS, now=1)
        store.connection.execute(
            "INSERT INTO releases (id, applied_at, \"commit\", digest, files, runtime, compiler) VALUES (1, 1, 'abc', 'd', '{}', ?, 1)",
            (json.dumps(RUNTIME),),
        )
    yield store
    store.close()


@pytest.fixture
def flowctl(project, capsys):
    """A function that runs a command line in the project: status, stdout, stderr."""

    def run(*arguments):
        status = main(["-C", str(project), *map(str, arguments)])
        return status, *capsys.readouterr()

    return run
