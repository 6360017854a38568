"""`flowctl lint` and `flowctl rule`: exit statuses, formats, selections, suppressions, the baseline."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import cases
import jsonschema
import pytest

from flowctl.cli.main import main
from flowctl.lint import linter
from flowctl.lint.rules import READING, SLUGS, load, worst

SCHEMA = json.loads((Path(__file__).parent / "report.schema.json").read_text(encoding="utf-8"))
FORMATS = ["full", "concise", "json", "sarif", "github", "junit"]
ASKED = sum(code in READING or worst(load(code)) != "info" for code in SLUGS)  # by the standard profile


@pytest.fixture
def clean(tmp_path):
    """A project without a finding."""
    return cases.write(cases.CASES / "REF003" / "ok.yaml", tmp_path)


@pytest.fixture
def erring(tmp_path):
    """A project with two errors, FLO003 in bad.yaml, and warnings elsewhere."""
    return cases.write(cases.CASES / "FLO003" / "bad.yaml", tmp_path)


@pytest.fixture
def warning(tmp_path):
    """A project with a warning, STY001 in bad.yaml."""
    root = cases.write(cases.CASES / "REF003" / "ok.yaml", tmp_path)
    (root / "more.yaml").write_text(
        "workflow: more\ntype: lifecycle\nowner: x\ntriggers: [{manual: true}]\nsteps:\n  - add: {engagement: 1}\n"
    )
    return root


def run(root, *options):
    return main(["-C", str(root), "lint", *options])


# ------------------------------------------------------------------------------------------------------------- exit status


@pytest.mark.parametrize("style", FORMATS)
def test_exit_0_where_nothing_is_found(clean, style, capsys):
    assert run(clean, "--format", style) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == f"checked 4 files, 1 workflow, {ASKED} rules: nothing found"
    assert out == "" or style in ("json", "sarif", "junit")


@pytest.mark.parametrize("style", FORMATS)
def test_exit_1_on_an_error(erring, style, capsys):
    assert run(erring, "--format", style) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith(f"checked 4 files, 1 workflow, {ASKED} rules: 2 errors, ")
    )


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 0),
        (["--strict"], 1),
        (["--fail-on", "warning"], 1),
        (["--fail-on", "info"], 1),
        (["--strict", "--fail-on", "error"], 0),
        (["--profile", "minimal", "--strict"], 0),
    ],
)
def test_a_warning_fails_only_where_asked(warning, style, options, status):
    assert run(warning, "--format", style, *options) == status


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--select", "FLO999"], "there is no rule `FLO999`"),
        (["--ignore", "to-many-steps"], "did you mean `too-many-steps`?"),
        (["nowhere.yaml"], "no such file or folder"),
        (["empty"], "nothing to check in empty"),
        (["--baseline", "missing.json"], "cannot be read"),
        (["--profile", "gentle"], "gentle"),
    ],
)
def test_exit_2_on_usage(clean, style, options, said, capsys):
    (clean / "empty").mkdir()
    assert run(clean, "--format", style, *options) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("{ignore: [FLO999]}", "flowctl.yaml, lint.ignore: there is no rule `FLO999`"),
        ("{severity: {nested: off}}", "flowctl.yaml, lint.severity: there is no rule `nested`"),
        ("{max: {step: 3}}", "did you mean `steps`?"),
        ("{baseline: gone.json}", "gone.json cannot be read"),
    ],
)
def test_exit_2_on_configuration(clean, style, setting, said, capsys):
    settings = clean / "flowctl.yaml"
    settings.write_text(settings.read_text() + f"lint: {setting}\n")
    assert run(clean, "--format", style) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("style", FORMATS)
def test_exit_2_where_there_is_nothing_to_check(tmp_path, style, capsys):
    assert run(tmp_path, "--format", style) == 2
    (tmp_path / "flowctl.yaml").write_text("project: empty\n")
    assert run(tmp_path, "--format", style) == 2
    assert "nothing to check" in capsys.readouterr().err


def test_a_fault_of_the_settings_is_shown_even_where_there_is_nothing_else(tmp_path, capsys):
    (tmp_path / "flowctl.yaml").write_text("project: [\n")
    assert run(tmp_path, "--format", "concise") == 1
    assert "YML001" in capsys.readouterr().out


def test_faults_of_reading_are_shown_whatever_is_asked(clean, capsys):
    (clean / "broken.yaml").write_text("segment: x\nmatch: [\n")
    settings = clean / "flowctl.yaml"
    settings.write_text(settings.read_text() + "lint: {ignore: [YML], severity: {YML001: info}}\n")
    assert run(clean, "--format", "concise", "--select", "STY", "--profile", "minimal") == 1
    assert "YML001" in capsys.readouterr().out


def test_paths_choose_what_is_shown_and_judged(erring, capsys):
    (erring / "other").mkdir()
    (erring / "other" / "segment.yaml").write_text("segment: other\nmatch: {segment: vip}\n")
    assert run(erring, str(erring / "other"), "--format", "concise") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "other/segment.yaml:1:10: warning REF003 unused-definition: nothing uses the segment `other`"
    ]
    assert err.splitlines()[-1] == f"checked 5 files, 1 workflow, {ASKED} rules: 1 warning"


# ----------------------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("code", ["CNT003", "PRS001", "YML003", "YML008", "REF001", "FLO004"])
def test_json_is_what_its_schema_says(code, tmp_path, capsys):
    run(cases.write(cases.CASES / code / "bad.yaml", tmp_path), "--format", "json")
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, SCHEMA)
    assert code in {finding["code"] for finding in report["findings"]}
    for finding in report["findings"]:
        start, end = finding["range"]["start"], finding["range"]["end"]
        assert (start["line"], start["column"]) < (end["line"], end["column"])


def test_github_annotates_lines_of_the_repository(erring, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(erring.parent))
    assert run(erring, "--format", "github", "--select", "FLO003") == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        f"::error file={erring.name}/bad.yaml,line=8,endLine=8,col=5,endColumn=37,title=FLO003 wait-without-timeout"
        "::this `wait_for` has no time-out: a contact can be stuck on it for ever"
        "%0Ahelp: write `timeout: 7d` beside `wait_for`, and `on_timeout:` if something is to happen then"
    )


def test_github_escapes_what_would_end_a_property(tmp_path, capsys):
    root = cases.write(cases.CASES / "FLO003" / "bad.yaml", tmp_path)
    (root / "bad.yaml").rename(root / "50%,a:b.yaml")
    run(root, "--format", "github", "--select", "FLO003")
    assert "file=50%25%2Ca%3Ab.yaml,line=8" in capsys.readouterr().out.replace(f"{tmp_path.name}/", "")


def test_concise_is_one_line_a_finding(erring, capsys):
    run(erring, "--format", "concise", "--select", "FLO003")
    assert capsys.readouterr().out.splitlines() == [
        "bad.yaml:8:5: error FLO003 wait-without-timeout: this `wait_for` has no time-out: a contact can be stuck on it for ever",
        "bad.yaml:10:5: error FLO003 wait-without-timeout: `call` has no time-out: a contact can be stuck on it for ever",
    ]


# -------------------------------------------------------------------------------------------------- selection and severity


@pytest.mark.parametrize("name", ["FLO003", "wait-without-timeout", "flo003", "FLO", "all"])
def test_rules_go_by_code_slug_and_family(erring, name, capsys):
    assert run(erring, "--format", "concise", "--select", name) == 1
    assert "FLO003" in capsys.readouterr().out
    assert run(erring, "--format", "concise", "--ignore", name) == 0
    assert "FLO003" not in capsys.readouterr().out


def test_the_project_ranks_and_switches_off(erring, capsys):
    settings = erring / "flowctl.yaml"
    said = settings.read_text()
    settings.write_text(said + "lint: {severity: {wait-without-timeout: info, unused-definition: off}}\n")
    assert run(erring, "--format", "concise") == 0
    out, err = capsys.readouterr()
    assert "FLO003" not in out  # an info, which the standard profile leaves out
    asked = sum(worst(load(code)) != "info" for code in SLUGS) - 2
    assert err.splitlines()[-1].startswith(f"checked 4 files, 1 workflow, {asked} rules")
    assert run(erring, "--format", "concise", "--profile", "strict", "--strict") == 1
    out = capsys.readouterr().out
    assert "bad.yaml:8:5: warning FLO003" in out
    assert "REF003" not in out


def test_thresholds_are_options_of_the_project_and_of_a_workflow(tmp_path, capsys):
    root = cases.write(cases.CASES / "CPX004" / "bad.yaml", tmp_path)
    settings, workflow = root / "flowctl.yaml", root / "bad.yaml"
    settings.write_text(settings.read_text() + "lint: {max: {steps: 10, steps_error: 20}}\n")
    assert run(root, "--format", "concise", "--select", "CPX004") == 1
    assert "has 27 steps; at most 10" in capsys.readouterr().out
    workflow.write_text(workflow.read_text().replace("steps:\n", "lint: {max: {steps: 27}}\nsteps:\n", 1))
    assert run(root, "--format", "concise", "--select", "CPX004") == 0
    assert capsys.readouterr().out == ""


# ------------------------------------------------------------------------------------------------------------ suppressions

SILENCED = """\
workflow: more
description: Waits for ever, on purpose.
owner: ecommerce
type: follow-up
goal: {{event: purchase_completed}}
triggers: [{{event: cart_updated}}]
steps:
  {above}
  - id: one  {behind}
    wait_for: {{event: app_downloaded}}  {inside}
    then:
      - id: two
        wait_for: {{event: app_downloaded}}
  - id: three
    wait_for: {{event: app_downloaded}}
"""
WHY = "# flowctl: ignore[FLO003] the shop ends it"


@pytest.mark.parametrize("where", ["above", "behind", "inside"])
def test_a_comment_on_a_step_covers_the_steps_inside_it(clean, where, capsys):
    places = dict.fromkeys(("above", "behind", "inside"), "")
    (clean / "more.yaml").write_text(SILENCED.format(**(places | {where: WHY})))
    assert run(clean, "--format", "concise") == 1
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == ["more.yaml:15:5"]
    assert err.splitlines()[-1].endswith(f"{ASKED} rules: 1 error; 2 silenced by comments")


def test_a_comment_above_the_first_key_covers_the_file(clean, capsys):
    (clean / "more.yaml").write_text(f"# a licence\n{WHY}\n\n" + SILENCED.format(above="", behind="", inside=""))
    assert run(clean, "--format", "concise") == 0
    assert capsys.readouterr().out == ""


def test_a_comment_without_a_reason_silences_nothing(clean, capsys):
    text = SILENCED.format(above="# flowctl: ignore[FLO003]", behind="", inside="")
    (clean / "more.yaml").write_text(text)
    assert run(clean, "--format", "concise") == 1
    out = capsys.readouterr().out
    assert out.count("FLO003") == 3
    assert "more.yaml:8:3: warning YML008 invalid-suppression" in out


def test_a_rule_that_was_not_asked_leaves_its_comments_alone(clean, capsys):
    text = SILENCED.format(above="# flowctl: ignore[CPX002] long on purpose", behind="", inside="")
    (clean / "more.yaml").write_text(text)
    run(clean, "--format", "concise", "--select", "FLO003,YML008")
    assert "YML008" not in capsys.readouterr().out
    run(clean, "--format", "concise", "--select", "CPX,YML008")
    assert "nothing here is found by CPX002" in capsys.readouterr().out


def test_a_mark_inside_a_text_is_no_comment(clean, capsys):
    (clean / "more.yaml").write_text(
        'segment: vip-2\ndescription: "# flowctl: ignore[FLO003]"\nmatch: {segment: vip}\n'
    )
    run(clean, "--format", "concise", "--ignore", "REF003")
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------------------------------------------------------- baseline


def test_a_baseline_holds_what_is_there_and_shows_what_comes(erring, capsys):
    assert run(erring, "--write-baseline") == 0
    assert "to " + str(erring / "lint-baseline.json") in capsys.readouterr().err
    workflow = erring / "bad.yaml"
    workflow.write_text("# a line more, so that all the others move\n" + workflow.read_text())
    assert run(erring, "--format", "concise") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "known from lint-baseline.json" in err
    workflow.write_text(workflow.read_text() + "  - wait_for: {event: purchase_completed}\n")
    assert run(erring, "--format", "concise") == 1  # the second of that message: one more than known
    assert capsys.readouterr().out.count("FLO003") == 1


def test_a_baseline_that_holds_too_much_says_so(erring, capsys):
    baseline = erring / "ours.json"
    assert run(erring, "--write-baseline", "--baseline", str(baseline)) == 0
    (erring / "bad.yaml").write_text(
        (erring / "bad.yaml").read_text().replace("wait_for: {event: app_downloaded}", "wait: 2d")
    )
    assert run(erring, "--baseline", str(baseline), "--select", "FLO003,REF003,STY") == 0
    assert "1 finding of ours.json gone: write it anew" in capsys.readouterr().err


def test_a_baseline_takes_no_faults_of_reading(clean, capsys):
    (clean / "broken.yaml").write_text("segment: x\nmatch: [\n")
    assert run(clean, "--write-baseline") == 1
    assert "YML001" not in (clean / "lint-baseline.json").read_text()
    assert run(clean) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema_version": 1, "findings": [1]}', '{"schema_version": 1, "findings": {"a": 1}}', "\0"],
)
def test_what_is_no_baseline_is_refused(clean, text, capsys):
    (clean / "lint-baseline.json").write_text(text)
    assert run(clean) == 2
    assert "is no lint baseline" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------------- the rest


def test_rule_prints_a_page_by_code_and_slug(capsys):
    assert main(["rule", "PRS001"]) == 0
    by_code = capsys.readouterr().out
    assert by_code.startswith("# PRS001 workflow-pressure\n")
    assert main(["rule", "workflow-pressure"]) == 0
    assert capsys.readouterr().out == by_code
    assert main(["rule", "prs001", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema_version"], data["kind"], data["code"], data["worst"], data["page"]) == (
        1,
        "rule",
        "PRS001",
        "error",
        by_code,
    )


def test_rule_without_a_name_lists_all(capsys):
    assert main(["rule"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "code\tslug\tseverity\tfinds"
    assert [row.split("\t")[:2] for row in rows[1:]] == [list(pair) for pair in SLUGS.items()]
    assert main(["rule", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) == len(SLUGS)


def test_rule_knows_the_nearest(capsys):
    assert main(["rule", "workflow-presure"]) == 2
    assert "did you mean `workflow-pressure`?" in capsys.readouterr().err


def test_the_collector_is_on_again(clean):
    run(clean)
    assert gc.isenabled()


def test_lint_imports_no_sql_no_http_and_no_more_than_it_needs(clean):
    program = (
        "import sys; from flowctl.cli.main import main\n"
        f"status = main(['-C', {str(clean)!r}, 'lint'])\n"
        "heavy = {'sqlite3', 'sqlite_utils', 'sqlalchemy', 'http.client', 'urllib.request', 'smtplib', 'ssl', 'rich', 'jinja2', 'flowctl.store', 'flowctl.engine'}\n"
        "print(status, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0 []"]


# ---------------------------------------------------------------------------------------------------------------- the cache


@pytest.fixture
def judged(monkeypatch):
    """How often the rules were asked."""
    calls = []
    true = linter.lint
    monkeypatch.setattr(linter, "lint", lambda *args, **options: calls.append(1) or true(*args, **options))
    return calls


def test_what_has_not_changed_is_not_judged_again_and_told_the_same(erring, judged, capsys):
    assert run(erring) == 1
    first = capsys.readouterr()
    assert run(erring) == 1
    assert capsys.readouterr() == first
    assert len(judged) == 1
    assert run(erring, "--format", "json") == 1
    assert run(erring, "--no-cache") == 1
    assert len(judged) == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "bad.yaml").write_text((root / "bad.yaml").read_text() + "# more\n"),
        lambda root: (root / "flowctl.yaml").write_text((root / "flowctl.yaml").read_text() + "# more\n"),
        lambda root: (root / "new.yaml").write_text("segment: fresh\nmatch: {field: country, is: FR}\n"),
        lambda root: (root / "bad.yaml").unlink(),
        lambda root: (root / "body.md").write_text("Hello\n"),
    ],
)
def test_any_change_of_a_file_is_seen(erring, change, judged, capsys):
    (erring / "more.yaml").write_text("message: more\nemail: {subject: Hello, file: body.md}\n")
    run(erring)
    run(erring)
    assert len(judged) == 1
    change(erring)
    run(erring)
    assert len(judged) == 2
    capsys.readouterr()


def test_another_day_another_commit_or_another_question_is_judged_anew(erring, judged, monkeypatch, capsys):
    monkeypatch.setenv("FLOWCTL_NOW", "2026-11-22T09:00:00Z")
    git = ["git", "-C", str(erring), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    for _ in range(2):
        run(erring)
    assert len(judged) == 1
    monkeypatch.setenv("FLOWCTL_NOW", "2026-11-23T09:00:00Z")
    run(erring)
    assert len(judged) == 2
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    run(erring)
    assert len(judged) == 3
    run(erring, "--select", "FLO003")
    assert len(judged) == 4
    capsys.readouterr()


def test_a_cache_that_is_broken_or_cannot_be_written_does_no_harm(erring, judged, capsys):
    run(erring)
    for file in (erring / ".flowctl_cache").glob("lint-*"):
        file.write_text('{"moment": []')
    assert run(erring) == 1
    for file in (erring / ".flowctl_cache").iterdir():
        file.unlink()
    (erring / ".flowctl_cache").rmdir()
    (erring / ".flowctl_cache").write_text("in the way")
    assert run(erring) == 1
    assert len(judged) == 3
    capsys.readouterr()


def test_the_project_can_do_without(erring, judged, capsys):
    settings = erring / "flowctl.yaml"
    settings.write_text(f"{settings.read_text()}lint: {{cache: false}}\n")
    run(erring)
    run(erring)
    assert len(judged) == 2
    assert not (erring / ".flowctl_cache").exists()
    capsys.readouterr()


def test_fixes_are_kept_with_their_findings(dangling_fix, capsys):
    run(dangling_fix, "--format", "json")
    first = capsys.readouterr().out
    run(dangling_fix, "--format", "json")
    assert capsys.readouterr().out == first
    assert '"edits"' in first


@pytest.fixture
def dangling_fix(tmp_path):
    """A project with a finding that has a fix."""
    return cases.write(cases.CASES / "FLO002" / "bad.yaml", tmp_path)


def test_statistics_count_by_rule(erring, capsys):
    assert run(erring, "--statistics") == 1
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["count", "code", "rule", "fixable"]
    assert [int(row[0]) for row in rows[1:]] == sorted((int(row[0]) for row in rows[1:]), reverse=True)
    assert ["2", "FLO003", "wait-without-timeout", ""] in rows
    assert run(erring, "--statistics", "--format", "json") == 1
    said = json.loads(capsys.readouterr().out)
    assert {"code": "FLO003", "slug": "wait-without-timeout", "count": 2, "fixable": 0} in said["rules"]
