"""Figures are written as people read them."""

from typing import Any

import pytest

from service.dashboard import formats


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.981, "0.9810"),
        (0.99999, "1.000"),
        (49.424, "49.42"),
        (1.0, "1.000"),
        (1344.5, "1344"),
        (None, "–"),
        (0.0, "0.000"),
    ],
)
def test_a_metric_keeps_four_digits(value: float | None, said: str) -> None:
    assert formats.score(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(12345, "12\u202f345"), (0.1, "0.1"), (3.14159, "3.142"), (1e-7, "1e-07"), (None, "–")]
)
def test_a_number_is_short_and_a_whole_one_in_full(value: float | None, said: str) -> None:
    assert formats.number(value) == said


def test_sizes_and_times_have_units() -> None:
    assert [formats.size(count) for count in (5, 2048, 3 * 2**30)] == ["5 bytes", "2.0 KiB", "3.0 GiB"]
    assert [formats.duration(time) for time in (0.25, 4, 75, 7260)] == ["250 ms", "4.0 s", "1 min 15 s", "2 h 01 min"]


def test_names_of_metrics_become_words() -> None:
    assert formats.words("validation_rmse") == "Validation RMSE"
    assert formats.phrase("agop_power") == "AGOP power"
    assert formats.option({"fraction": 0.2, "folds": None}) == "Fraction 0.2"


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (None, ""),
        ("balanced", "balanced"),
        ({"yes": 20.0, "a=b": 0.1}, "yes=20, a=b=0.1"),
        ({"Bern, BE": 2.0}, '{"Bern, BE": 2.0}'),
    ],
)
def test_weights_of_classes_are_told_as_the_form_takes_them(weights: Any, text: str) -> None:
    assert formats.class_weight_text(weights) == text
