import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from flowctl.language.instants import instant
from flowctl.store.casting import CastError, Kind, Reading, cast, caster, column, date_format

PARIS = ZoneInfo("Europe/Paris")


def utc(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [
        ("text", "  Ana ", "Ana"),
        ("text", "", None),
        ("text", 12, "12"),
        ("number", "12.50", 12.5),
        ("number", "-1e3", -1000.0),
        ("number", " 7 ", 7.0),
        ("number", 3, 3.0),
        ("integer", "12", 12),
        ("integer", "12.0", 12),
        ("integer", str(2**63 - 1), 2**63 - 1),
        ("boolean", "Oui", 1),
        ("boolean", "nee", 0),
        ("boolean", False, 0),
        ("date", "2024-02-29", "2024-02-29"),
        ("datetime", "2026-07-01T09:00", utc(2026, 7, 1, 7)),
        ("datetime", "2026-07-01 09:00:30", utc(2026, 7, 1, 7, 0, 30)),
        ("datetime", "2026-07-01T09:00+05:00", utc(2026, 7, 1, 4)),
        ("datetime", "2026-07-01T09:00:00.250Z", utc(2026, 7, 1, 9) + 250),
        ("datetime", "2026-07-01", utc(2026, 6, 30, 22)),
        ("datetime", "1782896400", 1782896400000),
        ("datetime", "1782896400123", 1782896400123),
        ("datetime", 1782896400, 1782896400000),
        ("tags", "toys; cookbooks,toys", '["cookbooks", "toys"]'),
        ("tags", '["é"]', '["é"]'),
        ("tags", ["b", "a"], '["a", "b"]'),
        ("email", " Ana.Smith@EXAMPLE.com ", "Ana.Smith@example.com"),
        ("email", "ana@münchen.example", "ana@münchen.example"),
        ("phone", "+33 6 12 34 56 78", "+33612345678"),
        ("phone", "0033612345678", "+33612345678"),
        ("language", "FR_be", "fr-BE"),
        ("timezone", "Europe/Brussels", "Europe/Brussels"),
        ("country", "fr", "FR"),
    ],
)
def test_values(type_, raw, value):
    assert cast(type_, raw, zone=PARIS) == value


@pytest.mark.parametrize(
    ("type_", "raw", "why"),
    [
        ("text", ["a"], "expected a text"),
        ("number", "12,5", r"like 12\.5; --decimal-comma"),
        ("number", "1 200", "without thousands"),
        ("number", "1_000", "expected a number"),
        ("number", "nan", "expected a number"),
        ("number", "Infinity", "expected a number"),
        ("number", "1e999", "finite"),
        ("number", "٣", "expected a number"),
        ("number", True, "expected a number"),
        ("integer", "12.5", "whole"),
        ("integer", str(2**63), "64 bits"),
        ("integer", "1e400", "whole"),
        ("boolean", "maybe", "true or false"),
        ("date", "31/12/2026", "DD/MM/YYYY"),
        ("date", "2026-02-30", "a date like"),
        ("date", "20261231", "a date like"),
        ("date", 20261231, "a date like"),
        ("datetime", "tomorrow", "a time like"),
        ("datetime", "2026-07-01T25:00", "a time like"),
        ("datetime", "99999999999999999", "a time like"),
        ("tags", "{}", None),
        ("tags", "[1]", "expected tags"),
        ("email", "ana", "must have an @-sign"),
        ("email", "ana@ex ample.com", "e-mail address"),
        ("email", "ana@localhost", "e-mail address"),
        ("phone", "0612345678", "--region FR"),
        ("phone", "+331", "phone number"),
        ("language", "french", "language code"),
        ("timezone", "Europe/Pari", "IANA"),
        ("timezone", "../etc/passwd", "IANA"),
        ("country", "France", "two letters"),
        ("country", "XX", "two letters"),
    ],
)
def test_refusals(type_, raw, why):
    if why is None:
        assert cast(type_, raw, zone=PARIS) == '["{}"]'
        return
    with pytest.raises(CastError, match=why):
        cast(type_, raw, zone=PARIS)


def test_choices_and_tags_name_the_nearest():
    reading = Reading(zone=PARIS)
    with pytest.raises(CastError, match="did you mean lead"):
        caster(Kind(type="choice", values=("lead", "customer")), reading)("Laed")
    with pytest.raises(CastError, match="'toy': expected one of toys; did you mean toys"):
        caster(Kind(type="tags", values=("toys",)), reading)("toy")


def test_options_read_other_habits():
    reading = Reading(zone=PARIS, decimal_comma=True, date_format=date_format("DD/MM/YYYY"), region="BE")
    read = lambda type_, raw: caster(Kind(type=type_), reading)(raw)  # noqa: E731
    assert read("number", "12,50") == 12.5
    assert read("date", "31/12/2026") == "2026-12-31"
    assert read("date", "2026-12-31") == "2026-12-31"
    assert read("datetime", "31/12/2026 14:05") == utc(2026, 12, 31, 13, 5)
    assert read("phone", "0470 12 34 56") == "+32470123456"


@pytest.mark.parametrize("said", ["YYYY", "%d/%m", "MM/YYYY", "%", "hello"])
def test_date_formats_that_fix_no_day_are_refused(said):
    with pytest.raises(CastError, match="does not fix"):
        date_format(said)


@pytest.mark.parametrize(
    ("local", "zone", "expected"),
    [
        ("2026-03-29T02:30", "Europe/Paris", utc(2026, 3, 29, 1)),  # skipped: the first instant that exists
        ("2026-03-29T02:00", "Europe/Paris", utc(2026, 3, 29, 1)),
        ("2026-03-29T03:00", "Europe/Paris", utc(2026, 3, 29, 1)),
        ("2026-10-25T02:30", "Europe/Paris", utc(2026, 10, 25, 0, 30)),  # twice: the first
        ("2026-10-04T02:10", "Australia/Lord_Howe", utc(2026, 10, 3, 15, 30)),  # a gap of half an hour
        ("2011-12-30T10:00", "Pacific/Apia", utc(2011, 12, 30, 10)),  # a day that was left out
        ("1969-12-31T23:59:59.999", "UTC", -1),
    ],
)
def test_local_times_that_exist_twice_or_not_at_all(local, zone, expected):
    assert instant(datetime.fromisoformat(local), ZoneInfo(zone)) == expected


@given(st.from_regex(r"[A-Za-z0-9_.+-]{1,12}@[A-Za-z0-9.-]{1,14}\.[a-z]{2,5}", fullmatch=True))
def test_the_fast_way_for_addresses_agrees_with_the_validator(address):
    try:
        expected = validate_email(address, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        expected = None
    try:
        found = cast("email", address, zone=PARIS)
    except CastError:
        found = None
    assert found == expected


CELLS = st.one_of(
    st.text(max_size=6),
    st.integers(-99, 99).map(str),
    st.floats().map(str),
    st.sampled_from(["", "1e3", " 4", "true", "2026-01-01"]),
)


@given(
    st.sampled_from(["text", "number", "integer", "boolean", "date", "datetime"]),
    st.lists(st.one_of(CELLS, st.none(), st.booleans(), st.integers()), max_size=8),
)
def test_a_column_is_cast_as_its_cells_one_by_one(type_, cells):
    reading = Reading(zone=PARIS)
    one, faults, expected, expected_faults = caster(Kind(type=type_), reading), [], [], []
    for index, cell in enumerate(cells):
        try:
            expected.append(one(cell))
        except CastError:
            expected.append(None)
            expected_faults.append(index)
    read = column(Kind(type=type_), reading)
    for _ in range(2):  # the second time from what it remembers
        faults.clear()
        values = read(cells, lambda index, _: faults.append(index))
        assert (values, [type(value) for value in values]) == (expected, [type(value) for value in expected])
        assert faults == expected_faults


def test_what_is_stored_of_tags_is_json():
    assert json.loads(cast("tags", 'say "a",b', zone=PARIS)) == ["b", 'say "a"']
