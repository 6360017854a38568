"""SARIF and JUnit: what their readers demand, and that they say what the other formats say."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import cases
import jsonschema
import pytest
import xmlschema

from flowctl.cli.main import main
from flowctl.language.problem import Place, Problem
from flowctl.lint.formats import junit
from flowctl.lint.report import Report
from flowctl.lint.rules import SLUGS

HERE = Path(__file__).parent
SARIF = json.loads((HERE / "sarif.schema.json").read_text(encoding="utf-8"))
JUNIT = xmlschema.XMLSchema(str(HERE / "junit.xsd"))


def lint(code, style, root, capsys, *options):
    cases.write(cases.CASES / code / "bad.yaml", root)
    main(["-C", str(root), "lint", "--format", style, *options])
    return capsys.readouterr().out


@pytest.mark.parametrize("code", SLUGS)
def test_sarif_is_as_its_schema_says_and_complete(code, tmp_path, capsys):
    said = json.loads(lint(code, "sarif", tmp_path, capsys))
    jsonschema.validate(said, SARIF, format_checker=jsonschema.FormatChecker())
    (run,) = said["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    findings = json.loads(lint(code, "json", tmp_path, capsys))["findings"]
    told = [
        (result["ruleId"], result["locations"][0]["physicalLocation"]["region"]["startLine"])
        for result in run["results"]
    ]
    assert told == [(finding["code"], finding["range"]["start"]["line"]) for finding in findings]


def test_sarif_keeps_a_findings_fingerprint_when_lines_move(tmp_path, capsys):
    before = json.loads(lint("FLO003", "sarif", tmp_path, capsys))
    file = tmp_path / "bad.yaml"
    file.write_text("# a line more\n" + file.read_text())
    main(["-C", str(tmp_path), "lint", "--format", "sarif"])
    after = json.loads(capsys.readouterr().out)

    def prints(said):
        return [result["partialFingerprints"] for result in said["runs"][0]["results"]]

    assert prints(after) == prints(before) != []


def test_sarif_carries_the_edits_of_a_fix(tmp_path, capsys):
    said = json.loads(lint("FLO002", "sarif", tmp_path, capsys, "--select", "FLO002"))
    ((change,),) = (fix["artifactChanges"] for fix in said["runs"][0]["results"][0]["fixes"])
    assert change["replacements"][0]["insertedContent"]["text"] == "\n      - exit: done"


@pytest.mark.parametrize("code", SLUGS)
def test_junit_is_as_its_schema_says_and_counts(code, tmp_path, capsys):
    text = lint(code, "junit", tmp_path, capsys)
    JUNIT.validate(text)
    root = ET.fromstring(text)
    findings = json.loads(lint(code, "json", tmp_path, capsys))["findings"]
    assert int(root.get("tests")) == len(root.findall(".//testcase")) == len(findings)
    errors = sum(finding["severity"] == "error" for finding in findings)
    assert int(root.get("failures")) == len(root.findall(".//failure")) == errors


def test_junit_fails_from_the_severity_that_fails(tmp_path, capsys):
    root = ET.fromstring(lint("FLO002", "junit", tmp_path, capsys, "--select", "FLO002"))
    assert root.get("failures") == "0"
    root = ET.fromstring(lint("FLO002", "junit", tmp_path, capsys, "--select", "FLO002", "--strict"))
    assert root.get("failures") == "1"


def test_junit_without_findings_is_one_test_that_passes():
    text = junit.render(Report(findings=(), files=1, workflows=1, rules=1), "", "error")
    JUNIT.validate(text)
    assert len(ET.fromstring(text).findall(".//testcase")) == 1


def test_junit_says_nothing_that_xml_cannot():
    problem = Problem(code="TST001", slug="test", message="\x00\x1b[31m \ud800 <&>\ufffe", place=Place(path="a.yaml"))
    text = junit.render(Report(findings=(problem,), files=1, workflows=1, rules=1), "", "error")
    JUNIT.validate(text)
