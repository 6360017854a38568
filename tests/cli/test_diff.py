"""diff: what a change in git means, against a real repository."""

# ruff: noqa: F401, F811 - fixtures are imported by their names

import json

from tests.cli.test_release import MESSAGES, WELCOME, git, run, shop


def details(run, *words):
    found = json.loads(run("diff", "--format", "json", *words)[1])
    return {f"{each['kind']} {each['name']}": (each["change"], each["details"]) for each in found["changes"]}


def test_lines_that_move_mean_nothing(shop, run):
    (shop / "welcome.yaml").write_text(
        "# a comment\n\n" + WELCOME.replace("{id: pause, wait: 2d}", "id: pause\n    wait: 2 days")
    )
    (shop / "welcome.yaml").rename(shop / "hello.yaml")
    assert run("diff")[:2] == (0, "The files mean what they mean at HEAD.\n")
    assert "Nothing" in run("diff", "--format", "markdown")[1]


def test_waits_steps_audience_and_pressure_are_told(shop, run):
    text = WELCOME.replace("wait: 2d", "wait: 5d").replace(
        "  - send: bye\n", "  - {id: once_more, send: hello}\n  - send: bye\n"
    )
    (shop / "welcome.yaml").write_text(
        text.replace("steps:", "audience: {field: first_name, known: true}\nstate: draft\nsteps:")
    )
    status, out, _ = run("diff")
    assert status == 0
    assert out.splitlines() == [
        "~ workflow welcome",
        "    state: not said → draft",
        "    audience: not said → {field: first_name, known: true}",
        "    pause: wait 2d → wait 5d",
        "    new: once_more (send hello), after pause",
        "~ worst case of welcome: 2 → 3 marketing messages within 7 days",
    ]


def test_steps_that_are_renamed_moved_deleted_or_put_in_a_branch(shop, run):
    steps = (
        "  - send: bye\n  - {id: rest, wait: 2d}\n  - if: {field: first_name, known: true}\n    then: [{wait: 1h}]\n"
    )
    (shop / "welcome.yaml").write_text(WELCOME.partition("  - send")[0] + steps)
    _, lines = details(run)["workflow welcome"]
    assert "gone: send hello, at the beginning" in lines
    assert "step pause is called rest now" in lines
    assert "new: wait 1h, in `then` of if" in lines
    (shop / "welcome.yaml").write_text(
        WELCOME.replace("  - send: bye\n", "").replace("  - {id", "  - send: bye\n  - {id")
    )
    assert details(run)["workflow welcome"] == ("changed", ["step bye moves, after hello"])


def test_messages_segments_settings_and_whole_files(shop, run):
    (shop / "messages.yaml").write_text(
        MESSAGES.replace("subject: Bye", "subject: Goodbye") + "  more: {email: {subject: More, file: more.md}}\n"
    )
    (shop / "more.md").write_text("one\n")
    (shop / "segments.yaml").write_text("segment: named\nmatch: {field: first_name, known: true}\n")
    (shop / "flowctl.yaml").write_text((shop / "flowctl.yaml").read_text().replace("5 per 1d", "2 per 1d"))
    found = details(run)
    assert found["settings flowctl.yaml"] == ("changed", ["pressure.email: [5 per 1d] → [2 per 1d]"])
    assert found["message bye"] == ("changed", ["email.subject: Bye → Goodbye"])
    assert found["message more"] == ("new", [])
    assert found["segment named"] == ("new", [])
    git(shop, "add", ".")
    git(shop, "commit", "-qm", "second")
    (shop / "more.md").write_text("one\ntwo\n")
    assert details(run)["message more"] == ("changed", ["body more.md: 0 lines gone, 1 new"])
    assert details(run, "HEAD~1")["message more"] == ("new", [])
    (shop / "welcome.yaml").unlink()
    assert details(run)["workflow welcome"] == ("gone", [])
    assert "- **workflow welcome**: gone" in run("diff", "--format", "markdown")[1]


def test_what_git_does_not_know_is_refused(shop, run):
    assert "no revision 'nowhere'" in run("diff", "nowhere")[2]
    assert run("diff", "--", "-x")[0] == 2
    (shop / "welcome.yaml").write_text("workflow: [")
    assert run("diff")[0] == 2


def test_a_project_in_a_folder_of_its_repository_with_exclusions(shop, run):
    inner = shop / "inner"
    inner.mkdir()
    (inner / "flowctl.yaml").write_text("project: inner\nexclude: [drafts]\nevents: {signup: {}}\n")
    (inner / "drafts").mkdir()
    (inner / "drafts" / "x.yaml").write_text("workflow: broken: [")
    (inner / "picture.png").write_bytes(b"\x89PNG\xff")
    git(shop, "add", ".")
    git(shop, "commit", "-qm", "second")
    assert run("diff")[:2] == (0, "The files mean what they mean at HEAD.\n")
    assert run("-C", str(inner), "diff")[1:] == ("The files mean what they mean at HEAD.\n", "")
