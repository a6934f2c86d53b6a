"""A column of dates is one, whichever way it is written and whichever file it comes in."""

from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.contracts.resources import ModelColumn
from worker.tables.column_types import changed, model_columns, read_as
from worker.tables.files.ingest import ingest
from worker.tables.storage import load_table

DAYS = [date(2023, 1, 1) + timedelta(days=13 * k) for k in range(40)]
MOMENTS = [datetime(day.year, day.month, day.day) for day in DAYS]
FORMS = {
    "iso": ("%Y-%m-%d", None, "dates"),
    "slashes": ("%Y/%m/%d", None, "dates"),
    "points": ("%d.%m.%Y", "day", "dates, day first"),
    "day first": ("%d/%m/%Y", "day", "dates, day first"),
    "month first": ("%m/%d/%Y", "month", "dates, month first"),
    "hyphens": ("%d-%m-%Y", "day", "dates, day first"),
    "midnight": ("%Y-%m-%dT00:00", None, "dates"),
    "seconds": ("%Y-%m-%d 00:00:00.000Z", None, "dates"),
    "zone": ("%Y-%m-%d 02:30:00+02:30", None, "dates"),
    "utc": ("%Y-%m-%d 00:00:00 UTC", None, "dates"),
    "half days": ("%m/%d/%Y 12:00 AM", "month", "dates, month first"),
    "short years": ("%d.%m.%y", "day", "dates, day first"),
    "short years, month first": ("%m/%d/%y", "month", "dates, month first"),
    "short years, a time": ("%d.%m.%y 00:00", "day", "dates, day first"),
    "short month": ("%d %b %Y", None, "dates"),
    "month first by name": ("%b %d %Y", None, "dates"),
    "whole month": ("%B %d, %Y", None, "dates"),
    "point and comma": ("%b. %d, %Y 12:00 AM", None, "dates"),
    "database": ("%d-%b-%y", None, "dates"),
    "small letters": ("%d/%b/%Y 00:00:00", None, "dates"),
    "mail": ("%a, %d %b %Y 00:00:00 +0000", None, "dates"),
    "whole weekday": ("%A, %B %d, %Y", None, "dates"),
}
GERMAN = ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"]


@pytest.fixture
def taken(tmp_path):
    def take(table):
        source, destination = tmp_path / "source", tmp_path / "table.parquet"
        if isinstance(table, list):
            source.write_text("\n".join(["day,n", *(f'"{text}",{k}' for k, text in enumerate(table))]) + "\n")
            media_type = "text/csv"
        else:
            pq.write_table(table, source)
            media_type = "application/vnd.apache.parquet"
        columns = ingest(source, media_type, destination, max_cells=10**6, max_bytes=10**7).columns
        read = model_columns({column.name: column for column in columns}, ["day"], {})
        cells = read_as(load_table(destination, ["day"]), changed(columns, read))
        return columns[0], cells.column("day").to_pylist()

    return take


@pytest.mark.parametrize("form", FORMS)
def test_texts_of_dates_are_dates(taken, form):
    pattern, order, inferred = FORMS[form]
    column, moments = taken([day.strftime(pattern) for day in DAYS])
    assert (column.type, column.date_order, column.inferred_from) == ("datetime", order, inferred)
    assert moments == MOMENTS
    assert (column.min, column.max, column.distinct) == ("2023-01-01", "2024-05-22", 40)


def test_months_have_names_in_german_too(taken):
    texts = [f"{day.day}. {GERMAN[day.month - 1]}. {day.year}" for day in DAYS]
    column, moments = taken([*texts, "3. März 2024", "mi, 10. januar 2024", "1. Dezember 24"])
    assert (column.type, column.date_order, moments[:-3]) == ("datetime", None, MOMENTS)
    assert [moment.month for moment in moments[-3:]] == [3, 1, 12]


def test_a_month_that_is_short_of_a_plain_letter_has_a_name(taken):
    assert taken(["3. Mär 2024", "4. Mär 2024"])[0].type == "datetime"


def test_a_letter_that_only_ignoring_case_is_of_a_month_makes_no_date(taken):
    assert taken(["3 ſep 2024", "4 ſep 2024", "5 auguſt 2024"])[0].type == "categorical"


def test_days_of_one_digit_and_with_ends_of_words_are_dates(taken):
    _, moments = taken(["January 2nd, 2024", "1st Feb 2024", "Jan 2 2024", "3. Mar 2024", "4 MAY 2024", "5-jun-2024"])
    assert [(moment.month, moment.day) for moment in moments] == [(1, 2), (2, 1), (1, 2), (3, 3), (5, 4), (6, 5)]


def test_years_of_two_digits_are_of_1969_to_2068(taken):
    _, moments = taken(["31.12.68", "31.12.69", "13.01.1950", "01-Feb-00", "5/6/99"])
    assert [moment.year for moment in moments] == [2068, 1969, 1950, 2000, 1999]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        *((pa.timestamp(unit, zone), DAYS) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")),
        (pa.date32(), DAYS),
        (pa.date64(), DAYS),
    ],
    ids=str,
)
def test_moments_of_arrow_are_dates_in_every_unit_and_zone(taken, kind, cells):
    if pa.types.is_timestamp(kind):
        cells = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in cells]
        cells = cells if kind.tz else [moment.replace(tzinfo=None) for moment in cells]
    column, moments = taken(pa.table({"day": pa.array([*cells, None], kind)}))
    assert (column.type, column.inferred_from, column.missing) == ("datetime", "dates", 1)
    assert moments == [*MOMENTS, None]


@pytest.mark.parametrize(
    ("texts", "order"),
    [(["01.02.2024", "03.04.2024"], "day"), (["01/02/2024", "03/04/2024"], "month")],
)
def test_dates_that_do_not_tell_their_order_say_so(taken, texts, order):
    column, _ = taken(texts)
    assert column.date_order == order
    assert column.inferred_from == f"dates, read as {order} first: no cell tells"


def test_another_column_of_the_table_tells_the_order(tmp_path):
    source = tmp_path / "source"
    source.write_text("a,b\n01/02/2024,13/02/2024\n03/04/2024,14/02/2024\n")
    columns = ingest(source, "text/csv", tmp_path / "table", max_cells=100, max_bytes=10**6).columns
    assert [column.date_order for column in columns] == ["day", "day"]


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-02-30", "2024-01-01"],
        ["13/13/2024", "01/01/2024"],
        ["13/01/2024", "01/13/2024"],
        ["2024-01/01", "2024-01-02"],
        ["2024-01-01", "soon"],
        ["2024-01-01 25:00", "2024-01-01 01:00"],
        ["1.2.3", "4.5.6"],
        ["1.10.12", "2.11.10"],
        ["24-01-05", "24-01-06"],
        ["31 Feb 2024", "1 Mar 2024"],
        ["May", "June"],
        ["Jan 12", "Feb 13"],
        ["Marc 1 2024", "Jan 1 2024"],
        ["Sun 2024", "Mon 2024"],
        ["1 Jan 20245", "1 Jan 2024"],
        ["Jan 1 2024 25:00", "Jan 1 2024"],
        ["12:30", "13:45"],
        ["0000-01-01", "2024-01-01"],
    ],
    ids=lambda texts: texts[0],
)
def test_texts_that_are_not_all_dates_are_categories(taken, texts):
    assert taken(texts)[0].type == "categorical"


def test_words_for_nothing_are_missing_among_dates(taken):
    column, moments = taken(["NA", *(day.isoformat() for day in DAYS), ""])
    assert (column.type, column.missing, column.first_missing) == ("datetime", 2, 1)
    assert moments == [None, *MOMENTS, None]


def test_moments_in_between_are_kept_to_the_microsecond(taken):
    column, moments = taken(["2024-02-29T23:59:59.123456Z", "2024-02-29 12:00 PM"])
    assert [moment.isoformat() for moment in moments] == ["2024-02-29T23:59:59.123456", "2024-02-29T12:00:00"]
    assert (column.min, column.max) == ("2024-02-29T12:00:00.000000Z", "2024-02-29T23:59:59.123456Z")


@pytest.mark.parametrize("year", [-400, 12_000])
def test_moments_beyond_the_calendar_are_categories(taken, year):
    seconds = round((year - 1970) * 365.2425 * 86_400)
    column, _ = taken(pa.table({"day": pa.array([0, seconds], pa.timestamp("s"))}))
    assert column.type == "categorical"


def test_a_table_may_change_the_form_of_its_dates_to_predict():
    column = ModelColumn(name="day", type="datetime", date_order="day")
    zone = timezone(timedelta(hours=9))
    for cells in (
        pa.array([day.isoformat() for day in DAYS]),
        pa.array([day.strftime("%d.%m.%Y") for day in DAYS]).dictionary_encode(),
        pa.array(DAYS, pa.date32()),
        pa.array([datetime(day.year, day.month, day.day, 9, tzinfo=zone) for day in DAYS]),
        pa.array(pd.to_datetime(DAYS)),
    ):
        assert read_as(pa.table({"day": cells}), [column]).column(0).to_pylist() == MOMENTS
