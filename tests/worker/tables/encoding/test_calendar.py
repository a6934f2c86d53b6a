"""A date is its position in time, and the parts of the calendar in which the training rows differ."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from worker.contracts.resources import ModelColumn
from worker.tables.encoding.calendar import PARTS, circle
from worker.tables.encoding.encoder import Encoder

DAY = ModelColumn(name="day", type="datetime")
MOMENTS = [datetime(2023, 1 + k % 12, 1 + k % 28, k % 24, tzinfo=UTC) for k in range(60)]


def _fit(moments, **options):
    table = _table(moments)
    options = {"standardize": True, "normalize_rows": False, **options}
    return Encoder.fit(table, [DAY], **options), table


def _table(moments):
    seconds = [None if moment is None else moment.timestamp() for moment in moments]
    return pa.table({"day": pa.array(seconds, pa.float64())})


@pytest.mark.parametrize(
    ("moments", "parts"),
    [
        (MOMENTS, ("month", "weekday", "hour")),
        ([datetime(2023, month, 1, tzinfo=UTC) for month in range(1, 13)], ("month", "weekday")),
        ([datetime(2023, 5, day, tzinfo=UTC) for day in range(1, 8)], ("weekday",)),
        ([datetime(2023, 5, day, 7, tzinfo=UTC) for day in (1, 8, 15)], ()),
        ([datetime(2023, 5, 1, hour, tzinfo=UTC) for hour in range(9)], ("hour",)),
    ],
)
def test_the_parts_are_those_that_vary(moments, parts):
    encoder, table = _fit(moments)
    circles = [f"day: {part} {function}" for part in parts for function in ("sin", "cos")]
    assert encoder.names == ["day: position", *circles]
    assert set(encoder.sources) == {"day"}
    X = encoder.encode(table)
    assert X[:, 0].mean() == pytest.approx(0, abs=1e-9)
    assert X[:, 0].std() == pytest.approx(1)
    np.testing.assert_allclose((X[:, 1:] ** 2).sum(1), len(parts))


def test_the_parts_are_those_of_the_calendar():
    seconds = np.array([moment.timestamp() for moment in [*MOMENTS, datetime(1904, 2, 29, 23, 30, tzinfo=UTC)]])
    moments = [datetime.fromtimestamp(second, UTC) for second in seconds]
    expected = {
        "month": [(moment.month - 1) / 12 for moment in moments],
        "weekday": [moment.weekday() / 7 for moment in moments],
        "hour": [(moment.hour + moment.minute / 60) / 24 for moment in moments],
    }
    for name, share in PARTS.items():
        np.testing.assert_allclose(share(seconds), expected[name], atol=1e-12)
        angle = 2 * np.pi * np.array(expected[name])
        np.testing.assert_allclose(circle(name, seconds), np.stack([np.sin(angle), np.cos(angle)], 1), atol=1e-9)


def test_december_is_next_to_january():
    first, _, last = (circle("month", np.array([datetime(2023, month, 1).timestamp()])) for month in (1, 6, 12))
    assert np.linalg.norm(first - last) < 0.6


def test_a_missing_date_is_flagged_and_in_the_middle():
    encoder, table = _fit([*MOMENTS, None])
    X = encoder.encode(table)
    assert encoder.names[-1] == "day:missing"
    assert X[:, -1].tolist() == [0] * 60 + [1]
    assert np.abs(X[-1, :-1]).max() == 0
    unflagged, _ = _fit(MOMENTS)
    assert np.abs(unflagged.encode(_table([None]))).max() == 0


def test_a_date_is_scaled_even_where_numbers_are_not():
    encoder, table = _fit(MOMENTS, standardize=False)
    assert np.abs(encoder.encode(table)[:, 0]).max() < 3


def test_an_encoder_of_dates_is_stored_and_expanded_with_others():
    columns = [DAY, ModelColumn(name="size", type="numeric")]
    table = _table(MOMENTS).append_column("size", pa.array(np.arange(60.0)))
    encoder = Encoder.fit(table, columns, standardize=True, normalize_rows=True, expanded=True)
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    assert np.array_equal(again.encode(table), encoder.encode(table))
    assert encoder.names[:2] == ["day: position", "day: month sin"]
    assert "size:rank" in encoder.names


def test_a_column_of_one_moment_is_dropped():
    table = _table([MOMENTS[0]] * 5).append_column("size", pa.array(np.arange(5.0)))
    columns = [DAY, ModelColumn(name="size", type="numeric")]
    assert Encoder.fit(table, columns, standardize=True, normalize_rows=False).dropped == ("day",)
