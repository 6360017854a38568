"""Loading a project: which files belong to it, and that nothing in them raises."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from flowctl.failure import UsageFailure
from flowctl.project.find import files, find
from flowctl.project.load import load, load_texts

CASES = Path(__file__).parents[1] / "cases" / "validate"
SETTINGS = "project: p\ncontacts: {fields: {orders: integer}}\n"
SEGMENT = "segment: {}\nmatch: {{field: orders, gte: 1}}\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "flowctl.yaml").write_text(SETTINGS)
    return tmp_path


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_find_goes_upwards(root):
    (root / "a" / "b").mkdir(parents=True)
    assert find(root / "a" / "b") == root.resolve()
    with pytest.raises(UsageFailure):
        find(root / "nowhere")


def test_which_files_belong_to_a_project(root):
    for path in (
        "b.yaml",
        "a/x.yaml",
        "a/y.yml",
        ".hidden/x.yaml",
        ".dot.yaml",
        "drafts/x.yaml",
        "a/skip.yaml",
        "inner/flowctl.yaml",
        "inner/z.yaml",
    ):
        write(root, path, "x: 1\n")
    assert list(files(root, ["drafts", "skip.yaml"])) == ["b.yaml", "a/x.yaml"]
    assert list(files(root, ["a/*.yaml"])) == ["b.yaml", "drafts/x.yaml"]


def test_exclude_is_read_from_the_settings(root):
    (root / "flowctl.yaml").write_text(SETTINGS + "exclude: [docker-compose.yaml]\n")
    write(root, "docker-compose.yaml", "services: {}\n")
    assert not load(root).problems


def test_all_faults_of_all_files_at_once(root):
    write(root, "a.yaml", "segment: a\nmtch: 1\n")
    write(root, "b.yaml", "segment: [\n")
    write(root, "c.yaml", "segment: c\nmatch: {field: order, gte: 1}\n")
    write(root, "d.yaml", SEGMENT.format("d"))
    project = load(root)
    assert [(problem.place.path, problem.code) for problem in project.problems] == [
        ("a.yaml", "YML006"),
        ("b.yaml", "YML001"),
        ("c.yaml", "REF001"),
    ]
    assert sorted(project.segments) == ["c", "d"]
    assert set(project.sources) == {"flowctl.yaml", "a.yaml", "b.yaml", "c.yaml", "d.yaml"}


def test_names_of_unreadable_files_are_not_reported_as_missing(root):
    write(root, "a.yaml", "segment: broken\nmatch: [\n")
    write(root, "b.yaml", "segment: wrong\nmatch: 3\n")
    write(root, "c.yaml", "segment: c\nmatch: {all: [{segment: broken}, {segment: wrong}]}\n")
    assert [problem.place.path for problem in load(root).problems] == ["a.yaml", "b.yaml"]


def test_unreadable_settings_make_no_fault_elsewhere(root):
    (root / "flowctl.yaml").write_text("project: p\nfoo: 1\n")
    write(root, "a.yaml", "segment: a\nmatch: {field: anything, is: 1}\n")
    project = load(root)
    assert [problem.place.path for problem in project.problems] == ["flowctl.yaml"]
    assert not project.settings_sound


def test_two_of_a_name_show_both(root):
    write(root, "a.yaml", SEGMENT.format("same"))
    write(root, "b.yaml", "segments:\n  same: {match: {field: orders, gte: 2}}\n")
    (problem,) = load(root).problems
    assert (problem.code, str(problem.place), str(problem.related[0].place)) == ("REF002", "b.yaml:2:3", "a.yaml:1:10")


def test_bodies_and_samples_are_read_beside_their_file(root):
    write(root, "m/m.yaml", "message: m\nemail: {subject: x, file: 'm.{lang}.md'}\n")
    write(root, "m/m.en.md", "Hello")
    project = load(root)
    assert not project.problems
    assert project.bodies == {"m/m.en.md": "Hello"}


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", "nope.md", "..", "."])
def test_bodies_outside_or_missing_are_reported(root, file):
    write(root, "m.yaml", f"message: m\nemail: {{subject: x, file: '{file}'}}\n")
    project = load(root)
    assert [problem.code for problem in project.problems] == ["REF001"]
    assert not project.bodies


def test_odd_things_named_yaml(root):
    (root / "folder.yaml").mkdir()
    (root / "broken.yaml").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.yaml")
    (root / "empty.yaml").touch()
    (root / "utf16.yaml").write_bytes("segment: é\n".encode("utf-16"))
    (root / "nul.yaml").write_bytes(b"segment: a\0b\n")
    (root / "known.yaml").write_text("something: else\n")
    problems = load(root).problems
    assert [(problem.place.path, problem.code) for problem in problems] == [
        ("broken.yaml", "YML001"), ("empty.yaml", "YML007"), ("known.yaml", "YML006"), ("nul.yaml", "YML001"), ("pipe.yaml", "YML001"), ("utf16.yaml", "YML001"),
    ]  # fmt: skip
    assert "UTF-16" in problems[-1].message


def test_a_body_that_is_no_text(root):
    write(root, "m.yaml", "message: m\nemail: {subject: x, file: m.md}\n")
    (root / "m.md").write_bytes(b"caf\xe9\n")
    (problem,) = load(root).problems
    assert str(problem.place) == "m.md:1:1"


def test_texts_load_like_files(root):
    write(root, "a.yaml", SEGMENT.format("a"))
    from_disk = load(root)
    assert load_texts(from_disk.sources, root).segments == from_disk.segments


def test_mutated_projects_never_raise(tmp_path):
    """Lines of real files dropped, doubled, swapped, re-indented, cut: a thousand times."""
    chance = random.Random(20261121)
    texts = {path.name: path.read_text() for path in (CASES / "base").glob("*.yaml")}
    extra = [next(folder.glob("*.yaml")) for folder in sorted(CASES.iterdir()) if folder.name != "base"]
    for turn in range(1_000):
        changed = dict(texts)
        source = extra[turn % len(extra)]
        changed["extra.yaml" if source.name == "flowctl.yaml" else source.name] = source.read_text()
        victim = chance.choice(list(changed))
        rows = changed[victim].splitlines()
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(rows))
            row = rows[at]
            rows[at : at + 1] = chance.choice(
                [[], [row, row], [f"  {row}"], [row[2:]], [row[: len(row) // 2]], [row.replace(":", " :")], [row.replace("{", "[")], [row + " x: y"], [row.upper()], [row.replace("1", "x")]]
            ) or ["x: 1"]  # fmt: skip
        changed[victim] = "\n".join(rows)
        project = load_texts(changed, tmp_path)
        for problem in project.problems:
            assert problem.message
            assert problem.place.path in changed


def test_unsettled_environment_is_a_usage_failure(root):
    with pytest.raises(UsageFailure):
        load(root, environment="staging")


def test_the_base_project_is_sound(tmp_path):
    shutil.copytree(CASES / "base", tmp_path / "p")
    assert not load(tmp_path / "p").problems
