import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contracts.errors import InvalidRequest
from worker.tables.encoding.targets import class_codes, regression_targets
from worker.tables.values import MISSING


def test_outputs_keep_the_order_they_were_named_in():
    table = pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    assert regression_targets(table, ["b", "a"]).tolist() == [[3, 1], [4, 2]]


@pytest.mark.parametrize("value", [None, math.inf, -math.inf, math.nan])
def test_an_output_that_is_no_finite_number_is_named_with_its_row(value):
    table = pa.table({"a": [1.0, 2.0, 3.0], "b": pa.array([1.0, value, 3.0], pa.float64(), from_pandas=False)})
    with pytest.raises(InvalidRequest, match="target 'b' has no finite value in row 2"):
        regression_targets(table, ["a", "b"])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([True, False, True], [False, True]),
        ([2.0, 10.0, 2.0], [2, 10]),
        ([0.5, -1.0, 0.5], [-1, 0.5]),
    ],
)
def test_classes_are_sorted_and_keep_their_type(labels, classes):
    codes, found = class_codes(pa.table({"y": labels}), "y")
    assert found == classes
    assert [type(label) for label in found] == [type(label) for label in classes]
    assert [classes[code] for code in codes] == labels
    assert codes.dtype == np.int64
    assert codes.flags.writeable


@given(
    labels=st.lists(st.text(max_size=3).filter(lambda text: text == text.strip() not in MISSING), min_size=1)
    | st.lists(st.booleans(), min_size=1, max_size=20)
    | st.lists(st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0), min_size=1, max_size=20)
)
def test_codes_and_classes_give_back_the_labels(labels):
    codes, classes = class_codes(pa.table({"y": labels}), "y")
    assert [classes[code] for code in codes] == labels
    again, _ = class_codes(pa.table({"y": labels}), "y", classes)
    assert np.array_equal(again, codes)


def test_a_label_that_training_never_saw_is_named():
    with pytest.raises(InvalidRequest, match="label 'c' of target 'y'"):
        class_codes(pa.table({"y": ["a", "c"]}), "y", ["a", "b"])


def test_rows_without_a_label_are_counted():
    with pytest.raises(InvalidRequest, match="'y' has 2 rows without a label"):
        class_codes(pa.table({"y": ["a", None, None]}), "y")


@pytest.mark.parametrize("kind", [pa.decimal128(10, 2), pa.decimal128(18, 4), pa.float32()])
def test_labels_of_other_numbers_are_as_they_are_written(kind):
    written = ["0.57", "1.13", "340.28"]
    cells = map(Decimal if pa.types.is_decimal(kind) else float, written)
    column = pa.array(list(cells), kind)
    codes, classes = class_codes(pa.table({"y": column}), "y")
    assert classes == [0.57, 1.13, 340.28]
    again, _ = class_codes(pa.table({"y": pa.array(list(map(float, written)))}), "y", classes)
    assert again.tolist() == codes.tolist() == [0, 1, 2]


def test_targets_that_float64_cannot_tell_apart_are_refused():
    table = pa.table({"y": pa.array([2**63 + row for row in range(4)], pa.uint64())})
    with pytest.raises(InvalidRequest, match="differ by less than float64 can tell"):
        regression_targets(table, ["y"])
