"""Counts by size are those that numpy counts, and no number is lost at an edge."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from worker.tables.histogram import histogram


def test_counts_are_those_of_numpy_however_the_column_is_cut_into_blocks() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    low, high = float(values.min()), float(values.max())
    expected, edges = np.histogram(values, 30)
    for cut in (1, 7, 1000):
        blocks = [pa.array(part) for part in np.array_split(values, cut)]
        found_edges, counts = histogram(blocks, low, high, 30)
        assert counts == expected.tolist()
        assert found_edges == pytest.approx(edges.tolist())


def test_whole_numbers_that_span_little_get_a_bin_each() -> None:
    edges, counts = histogram([pa.array([2.0, 2.0, 3.0, 5.0])], 2.0, 5.0, 30, integer=True)
    assert edges == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert counts == [2, 1, 0, 1]


@pytest.mark.parametrize(
    "values", [[4.0, 4.0], [-1.7e308, 1.7e308], [0.0, 5e-324], [1e17, 1e17 + 16], [1e16, 1e16], [2.0**63] * 3]
)
def test_every_finite_number_is_in_a_bin(values: list[float]) -> None:
    block = pa.array([*values, None, float("inf"), float("-inf"), float("nan")])
    edges, counts = histogram([block], min(values), max(values), 30)
    assert sum(counts) == len(values)
    assert np.isfinite(edges).all()


@pytest.mark.parametrize(
    "cells", [[10**16] * 3, [2**63 - 1 - row for row in range(5)], [1234567890123456789 + row for row in range(40)]]
)
def test_long_whole_numbers_are_counted_too(cells: list[int]) -> None:
    edges, counts = histogram([pa.array(cells)], float(min(cells)), float(max(cells)), 30, integer=True)
    assert sum(counts) == len(cells)
    assert all(low < high for low, high in itertools.pairwise(edges))
