import pytest

from flowctl.store import zones
from flowctl.store.zones import country_of_zone, sole_zone, zone_of


@pytest.mark.parametrize(
    ("timezone", "phone", "country", "zone"),
    [
        ("Asia/Tokyo", "+33612345678", "BE", "Asia/Tokyo"),
        (None, "+33612345678", "BE", "Europe/Paris"),
        (None, None, "BE", "Europe/Brussels"),
        (None, None, "DE", "Europe/Berlin"),  # and Busingen, whose clocks agree
        (None, None, "ES", None),  # the Canaries do not
        (None, "+34612345678", "FR", "Europe/Paris"),  # a phone that does not say leaves it to the country
        (None, None, "US", None),
        (None, "+590690001122", None, "America/Guadeloupe"),
        (None, "+882", "FR", "Europe/Paris"),
        (None, None, None, None),
    ],
)
def test_the_zone_where_there_is_no_doubt(timezone, phone, country, zone):
    assert zone_of(timezone, phone, country) == zone


def test_countries_of_zones():
    assert (country_of_zone("Europe/Paris"), country_of_zone("Europe/Brussels"), country_of_zone("UTC")) == (
        "FR",
        "BE",
        None,
    )
    assert sole_zone(("Europe/Nowhere", "Europe/Paris")) is None


def test_without_the_systems_table_phone_prefixes_tell(monkeypatch):
    monkeypatch.setattr(zones.zoneinfo, "TZPATH", ("/nowhere",))
    zones.countries.cache_clear()
    try:
        assert zones.countries()["FR"] == ("Europe/Paris",)
        assert len(zones.countries()) > 200
    finally:
        zones.countries.cache_clear()
