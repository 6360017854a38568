from flowctl.store.database import open_store


def test_backup(applied, flowctl, project):
    status, out, err = flowctl("backup", "copy.db")
    assert (status, out) == (0, "")
    assert err.startswith("copy.db: ")
    copy = open_store(project / "copy.db", create=False)
    assert copy.uuid == applied.uuid
    copy.close()
    assert flowctl("backup", "flowctl.db")[0] == 2


def test_where_the_store_is(applied, flowctl, project, monkeypatch):
    settings = project / "flowctl.yaml"
    settings.write_text(
        "project: shop\nstore: ${SHOP_STORE:-sqlite:///flowctl.db}\nenvironments: {staging: {store: other.db}}\n"
    )
    assert flowctl("backup", "a.db")[0] == 0
    status, _, err = flowctl("--env", "staging", "backup", "a.db")
    assert status == 2
    assert "no store at" in err
    assert "other.db" in err
    monkeypatch.setenv("SHOP_STORE", str(project / "gone.db"))
    assert "gone.db" in flowctl("backup", "a.db")[2]
    monkeypatch.setenv("FLOWCTL_STORE", "sqlite:///flowctl.db")
    assert flowctl("backup", "a.db")[0] == 0
    monkeypatch.delenv("FLOWCTL_STORE")
    settings.write_text("project: shop\nstore: ${NOT_SET}\n")
    assert "needs the variable NOT_SET" in flowctl("backup", "a.db")[2]
