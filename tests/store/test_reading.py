import json

import pytest

from flowctl.failure import Failure
from flowctl.store import reading
from flowctl.store.reading import open_source


def read(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = open_source(str(path), **options)
    rows, lines, faults = [], [], []
    for chunk in source.chunks:
        rows += [dict(zip(chunk.columns, row, strict=True)) for row in chunk.rows]
        lines += chunk.lines
        faults += [(fault.line, fault.reason) for fault in chunk.faults]
    return source, rows, lines, faults


def test_csv_with_lines(tmp_path):
    _, rows, lines, faults = read(tmp_path / "a.csv", 'key,name\na,"two\nlines"\n\nb,x\n')
    assert rows == [{"key": "a", "name": "two\nlines"}, {"key": "b", "name": "x"}]
    assert (lines, faults) == ([2, 5], [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_found_out(tmp_path, delimiter, end):
    text = (
        end.join([delimiter.join(["key", '"the, name; it|s"']), delimiter.join(["a", "x"]), delimiter.join(["b", "y"])])
        + end
    )
    _, rows, lines, _ = read(tmp_path / "a.csv", text)
    assert [list(row.values()) for row in rows] == [["a", "x"], ["b", "y"]]
    assert lines == [2, 3]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.tsv", "key\tname, too\na\tb", "tsv"),
        ("a.json", '[{"key": "a", "name, too": "b"}]', "json"),
        ("a.jsonl", '{"key": "a", "name, too": "b"}\n', "ndjson"),
        ("a", '\n {"key": "a", "name, too": "b"}', "ndjson"),
        ("a", ' [\n{"key": "a", "name, too": "b"}\n]\n', "json"),
        ("a", '\ufeffkey,"name, too"\na,b', "csv"),
    ],
)
def test_formats_are_found_out(tmp_path, name, content, found):
    source, rows, _, faults = read(tmp_path / name, content)
    assert (source.format, rows, faults) == (found, [{"key": "a", "name, too": "b"}], [])


def test_encodings(tmp_path):
    with pytest.raises(Failure, match=r"a\.csv:3: not UTF-8 \(byte 0xE9\)") as caught:
        read(tmp_path / "a.csv", "key,name\na,x\nb,Zoé\n".encode("cp1252"))
    assert "--encoding cp1252" in caught.value.help
    assert read(tmp_path / "a.csv", "key,name\nb,Zoé €\n".encode("cp1252"), encoding="cp1252")[1] == [
        {"key": "b", "name": "Zoé €"}
    ]
    assert read(tmp_path / "a.csv", "key,name\nb,Zoé\n".encode("utf-16"))[1] == [{"key": "b", "name": "Zoé"}]
    assert read(tmp_path / "a.csv", "key,name\nb,Zoé\n".encode("utf-8-sig"))[0].columns == ("key", "name")
    with pytest.raises(Failure, match="no encoding"):
        read(tmp_path / "a.csv", "key\n", encoding="utf-9")


def test_what_is_no_text_far_down_costs_only_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SNIFF_BYTES", 8)
    content = b"key,name\n" + b"a,x\n" * 5 + b"b,Zo\xe9\n" + b"c,n\x00l\n" + "d,Zoé\n".encode()
    _, rows, _, faults = read(tmp_path / "a.csv", content)
    assert [row["key"] for row in rows] == ["a"] * 5 + ["d"]
    assert [(line, reason.split(";")[0]) for line, reason in faults] == [
        (7, "is not in the file's encoding"),
        (8, "holds a NUL byte"),
    ]


def test_ragged_rows(tmp_path):
    _, rows, lines, faults = read(tmp_path / "a.csv", "key,name,,\na\nb,x\nc,x,y\nd,x,,,\n")
    assert (rows, lines) == ([{"key": "b", "name": "x"}, {"key": "d", "name": "x"}], [3, 5])
    assert [(line, reason.split(";")[0]) for line, reason in faults] == [
        (2, "has 1 cells where the header has 2"),
        (4, "has 3 cells where the header has 2"),
    ]


def test_a_quote_that_is_never_closed_swallows_no_more_than_it_must(tmp_path):
    content = 'key,name\na,"x\ny"\nb,"never closed\n' + "c,x\n" * 60_000 + "d,last\n"
    _, rows, lines, faults = read(tmp_path / "a.csv", content)
    assert rows[0] == {"key": "a", "name": "x\ny"}
    assert rows[-1] == {"key": "d", "name": "last"}
    assert lines[-1] == 60_005
    assert len(faults) == 1
    assert faults[0][0] == 4
    assert "never closed" in faults[0][1]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "\n\n", "is empty"),
        ("a.csv", "\nkey\na\n", "first line is empty"),
        ("a.csv", "key,name,key\n", "two columns are called 'key'"),
        ("a.csv", "ke\0y,name\n", "header is no text"),
        ("a.json", "", "array of objects"),
        ("a.json", "{}", "array of objects"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", '[{"key": "a"}, {"key": ', r":1: no JSON"),
        ("a.json", '[{"key": "a"},\n{"key": "b"}', "never closed"),
        ("a.json", '[{"key": "a"}\n nonsense]', ":2: no JSON"),
        ("a.ndjson", "\n", "holds no rows"),
    ],
)
def test_files_that_cannot_serve(tmp_path, name, content, why):
    with pytest.raises(Failure, match=why):
        read(tmp_path / name, content)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(Failure, match="cannot read"):
            open_source(str(path))


def test_json_lines_and_columns_that_come_later(tmp_path):
    content = '{"key": "a", "consent": {"email": true}}\nnonsense\n[1]\n\n{"key": "b", "tags": ["x"]}\n{"key": "c", "n": NaN}\n{"key": "\\u0000"}\n'
    _, rows, lines, faults = read(tmp_path / "a.ndjson", content)
    assert rows == [
        {"key": "a", "consent.email": True, "tags": None},
        {"key": "b", "consent.email": None, "tags": ["x"]},
    ]
    assert lines == [1, 5]
    assert [line for line, _ in faults] == [2, 3, 6, 7]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_a_json_array_may_break_anywhere_between_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(reading, "BLOCK_CHARS", block)
    objects = [{"key": f"k{n}", "name": "é" * n, "quote": '"}]['} for n in range(40)]
    _, rows, lines, _ = read(tmp_path / "a.json", json.dumps(objects, indent=1, ensure_ascii=False))
    assert rows == objects
    assert lines == [2 + 5 * n for n in range(40)]


def test_chunks_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_ROWS_MAX", 1000)
    path = tmp_path / "a.csv"
    path.write_text("key\n" + "".join(f"k{n}\n" for n in range(2500)))
    assert [len(chunk.rows) for chunk in open_source(str(path)).chunks] == [1000, 1000, 500]
