"""A name that is not there leads to the one that was meant, however many there are and however long they are."""

import time

import pytest

from worker.tables.close_names import MAX_LENGTH, close_names, did_you_mean

COLUMNS = ["MEDV", "median_house_value", "Sale Price", "rooms", "x10", "größe", "lat", "lon"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("medv", "MEDV"),
        (" MEDV ", "MEDV"),
        ("house_value", "median_house_value"),
        ("MedianHouseValue", "median_house_value"),
        ("sale_price", "Sale Price"),
        ("SalesPrice", "Sale Price"),
        ("room", "rooms"),
        ("X10", "x10"),
        ("GROSSE", "größe"),
        ("latitude", "lat"),
    ],
)
def test_the_nearest_name_comes_first(typed: str, meant: str) -> None:
    assert close_names(typed, COLUMNS)[0] == meant


def test_nothing_is_offered_that_is_not_alike() -> None:
    assert did_you_mean("zzz", COLUMNS) == ""
    assert did_you_mean("zzz", []) == ""


def test_the_last_of_many_columns_is_found() -> None:
    known = [f"column {k}" for k in range(20_000)] + ["revenue"]
    assert close_names("revenu", known)[0] == "revenue"


@pytest.mark.parametrize("length", [5, 100, 10_000])
def test_many_long_names_that_are_all_alike_cost_less_than_a_second(length: int) -> None:
    known = [("ab" * length)[: length - 5] + f"{k:05d}" for k in range(20_000)]
    began = time.process_time()
    found = did_you_mean("ab" * length, known)
    assert time.process_time() - began < 2
    assert len(found) < 4 * MAX_LENGTH + 50
