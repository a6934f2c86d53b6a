"""Statistics of columns equal those that are computed at once, however the column is cut and its values are shared."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.draws import examples

from worker.tables.files import describe as module
from worker.tables.files.describe import describe


@pytest.fixture(autouse=True, scope="module")
def _many_partitions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PARTITION_ROWS", 7)
        yield


def _blocks(column: pa.Array, length: int) -> Callable[[], Iterator[pa.Array]]:
    return lambda: (column[start : start + length] for start in range(0, len(column), length))


@settings(max_examples=examples(60))
@given(st.lists(st.none() | st.sampled_from("abcdefghijklmnopqrst")), st.integers(1, 20))
def test_texts_are_counted_and_of_equally_frequent_ones_the_earlier_comes_first(
    values: list[str | None], length: int
) -> None:
    column = describe("a", "categorical", _blocks(pa.array(values, pa.string()), length))
    assert column.first_missing == (values.index(None) + 1 if None in values else None)
    counts = Counter(value for value in values if value is not None)
    assert (column.missing, column.distinct) == (values.count(None), len(counts))
    assert column.top is not None
    assert [(one.value, one.count) for one in column.top] == counts.most_common(10)


@settings(max_examples=examples(60))
@given(
    st.lists(st.none() | st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6) | st.sampled_from([np.inf, -np.inf])),
    st.integers(1, 20),
)
def test_numbers_are_summed_up(values: list[float | None], length: int) -> None:
    column = describe("a", "numeric", _blocks(pa.array(values, pa.float64()), length))
    assert column.first_missing == (values.index(None) + 1 if None in values else None)
    known = np.array([value for value in values if value is not None])
    finite = known[np.isfinite(known)]
    assert (column.missing, column.distinct) == (values.count(None), len(set(known)))
    assert column.infinite == len(known) - len(finite)
    if len(finite):
        assert (column.min, column.max) == (finite.min(), finite.max())
        assert column.mean == pytest.approx(finite.mean(), abs=1e-9 * np.abs(finite).max())
        assert column.std == pytest.approx(finite.std(), abs=1e-6 * np.abs(finite).max())
        assert column.integer == (len(finite) == len(known) and bool((finite == np.round(finite)).all()))


def test_zero_has_no_sign_and_booleans_are_counted() -> None:
    assert describe("a", "numeric", _blocks(pa.array([0.0, -0.0]), 1)).distinct == 1
    top = describe("a", "boolean", _blocks(pa.array([True, None, False, True]), 3)).top
    assert top is not None
    assert [(one.value, one.count) for one in top] == [(True, 2), (False, 1)]


@pytest.mark.parametrize("length", [1, 7, 100])
def test_values_that_keep_a_column_from_being_numeric_are_named(length: int) -> None:
    numbers = ["1", "-2.5", ".5", "+3.", "1e-3", "4E5", None] * 10
    odd = ["n.v."] * 3 + ["1 200", "-"]
    column = describe("a", "categorical", _blocks(pa.array(numbers + odd), length))
    assert column.not_numbers is not None
    assert [(one.value, one.count) for one in column.not_numbers] == [("n.v.", 3), ("1 200", 1), ("-", 1)]


@pytest.mark.parametrize("texts", [["1"] * 9 + ["x"] * 11, ["1", "2"] * 10, ["x", "y"], [None, None]])
def test_categories_and_texts_of_digits_alone_are_as_they_are(texts: list[str | None]) -> None:
    assert describe("a", "categorical", _blocks(pa.array(texts, pa.string()), 7)).not_numbers is None


@pytest.mark.parametrize(
    ("texts", "odd"),
    [
        (["1,5", "2,25", "3"], ["1,5", "2,25"]),
        (["€ 1.2", "3 €", "1'000.50", "-7%"], ["€ 1.2", "3 €", "1'000.50", "-7%"]),
        (["2020-01-01", "12:30", "1.2.3", "a1"], None),
    ],
)
def test_numbers_in_other_ways_of_writing_are_named(texts: list[str], odd: list[str] | None) -> None:
    found = describe("a", "categorical", _blocks(pa.array(texts), 2)).not_numbers
    assert (None if found is None else [one.value for one in found]) == odd
