import numpy as np
import pyarrow as pa
import pytest

from worker.contracts.errors import ColumnMismatch, InvalidRequest
from worker.contracts.requests import FitRequest, Validation
from worker.contracts.resources import Column, ModelColumn
from worker.tables import schema
from worker.tables.encoding.encoder import Encoder
from worker.tables.encoding.width import encoded_width

DATASET = "ds_" + "0" * 26


def _request(**changes):
    return FitRequest(**{"dataset": DATASET, "target": "price", **changes})


def _number(name, distinct=50, **changes):
    return Column(**{"name": name, "type": "numeric", "missing": 0, "distinct": distinct, **changes})


def _text(name, distinct=3, **changes):
    return Column(**{"name": name, "type": "categorical", "missing": 0, "distinct": distinct, **changes})


COLUMNS = [_number("price"), _number("rooms", 8, integer=True), _number("area"), _text("city")]


def _check(features, target, task="regression", rows=100, max_encoded=1000, **changes):
    request = _request(target=target.name, **changes)
    schema.check_rows(request, rows)
    schema.check_columns(features, [target], task, max_encoded=max_encoded)


def _pointer(caught):
    return caught.value.errors[0].pointer


def test_an_unknown_target_is_answered_with_the_closest_names():
    with pytest.raises(InvalidRequest, match="no column 'pirce'; did you mean 'price'") as caught:
        schema.resolve_targets(_request(target="pirce"), schema.by_name(COLUMNS))
    assert _pointer(caught) == "/target"


def test_a_name_like_no_other_is_answered_without_a_guess():
    with pytest.raises(InvalidRequest, match=r"no column 'qqqq'$"):
        schema.resolve_targets(_request(target="qqqq"), schema.by_name(COLUMNS))


def test_a_target_named_twice_is_refused_at_its_place():
    with pytest.raises(InvalidRequest, match="'price' is named twice") as caught:
        schema.resolve_targets(_request(target=["price", "area", "price"]), schema.by_name(COLUMNS))
    assert _pointer(caught) == "/target/2"


def test_features_are_all_columns_but_targets_and_excluded_ones():
    chosen, _ = schema.resolve_features(_request(exclude=["city"]), schema.by_name(COLUMNS), 10)
    assert [column.name for column in chosen] == ["rooms", "area"]


def test_features_asked_for_keep_their_order():
    chosen, _ = schema.resolve_features(_request(features=["city", "area"]), schema.by_name(COLUMNS), 10)
    assert [column.name for column in chosen] == ["city", "area"]


@pytest.mark.parametrize(
    ("changes", "pointer", "complaint"),
    [
        ({"features": ["rooms", "price"]}, "/features/1", "'price' is the target"),
        ({"features": ["rooms", "rooms"]}, "/features/1", "named twice"),
        ({"features": ["room"]}, "/features/0", "did you mean 'rooms'"),
        ({"exclude": ["cty"]}, "/exclude/0", "did you mean 'city'"),
        ({"exclude": ["rooms", "area", "city"]}, "/features", "no column is left"),
        ({"features": ["city"], "exclude": ["city"]}, "/features", "no column is left"),
    ],
)
def test_features_that_cannot_be_are_refused_at_their_place(changes, pointer, complaint):
    with pytest.raises(InvalidRequest, match=complaint) as caught:
        schema.resolve_features(_request(**changes), schema.by_name(COLUMNS), 10)
    assert _pointer(caught) == pointer


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (_text("y"), "classification"),
        (Column(name="y", type="boolean", missing=0, distinct=2), "classification"),
        (_number("y", 20, integer=True), "classification"),
        (_number("y", 21, integer=True), "regression"),
        (_number("y", 3, integer=False), "regression"),
    ],
)
def test_the_task_follows_from_the_target(target, task):
    assert schema.resolve_task("auto", [target]) == task


def test_a_target_of_numbers_with_a_word_among_them_is_no_classification_unless_it_is_asked_for():
    target = _text("y", 21, not_numbers=[{"value": "n.v.", "count": 2}])
    with pytest.raises(InvalidRequest, match=r"'y' would make 21 classes.*'n\.v\.' \(2\)") as caught:
        schema.resolve_task("auto", [target])
    assert _pointer(caught) == "/target"
    assert schema.resolve_task("classification", [target]) == "classification"
    assert schema.resolve_task("auto", [target.model_copy(update={"distinct": 20})]) == "classification"


def test_tasks_that_the_targets_do_not_allow_are_refused():
    with pytest.raises(InvalidRequest, match="'city' is categorical; a regression needs numbers"):
        schema.resolve_task("regression", [_text("city")])
    with pytest.raises(InvalidRequest, match="several targets are a regression"):
        schema.resolve_task("classification", [_number("a"), _number("b")])
    with pytest.raises(InvalidRequest, match="'b' is categorical") as caught:
        schema.resolve_task("auto", [_number("a"), _text("b")])
    assert _pointer(caught) == "/target/1"


def test_a_million_different_texts_take_the_places_of_the_most_frequent():
    assert encoded_width([_number("area"), _text("customer", 1_000_000)]) == 514


def test_many_columns_of_many_texts_are_refused_by_name_with_what_to_do():
    features = [_number("area"), *(_text(f"customer{at}", 1_000_000) for at in range(10))]
    with pytest.raises(InvalidRequest, match="5131 encoded columns and at most 5000") as caught:
        _check(features, _number("price"), rows=1_000_000, max_encoded=5000)
    assert "'customer0' (513)" in str(caught.value)
    assert "exclude" in str(caught.value)


def test_the_width_is_that_of_the_encoder_at_most():
    columns = [_number("a"), _number("b", missing=2), _text("c", 4), _text("d", 4, missing=1)]
    assert encoded_width(columns) == 14
    assert encoded_width(columns, expanded=True) == 14 + 2 * 9


@pytest.mark.parametrize("count", [1, 39, 80, 106, 410, 1000])
@pytest.mark.parametrize("expanded", [False, True])
def test_the_width_of_numbers_is_just_that_of_the_encoder(count, expanded):
    values = np.random.default_rng(0).normal(size=(30, count))
    values[3, 0] = np.nan
    table = pa.table({f"c{at}": pa.array(values[:, at], from_pandas=True) for at in range(count)})
    features = [ModelColumn(name=name, type="numeric") for name in table.column_names]
    encoder = Encoder.fit(table, features, standardize=True, normalize_rows=False, expanded=expanded)
    columns = [_number(f"c{at}", 30 - (at == 0), missing=int(at == 0)) for at in range(count)]
    assert encoded_width(columns, expanded) == len(encoder.names)


def test_many_numbers_are_told_to_be_fewer_and_an_encoding_that_is_too_wide_to_be_plain():
    with pytest.raises(
        InvalidRequest, match="make 1200 encoded columns and at most 1000 are allowed; learn from fewer"
    ):
        _check([_number(f"c{at}") for at in range(1200)], _number("price"))
    features = [_number(f"c{at}") for at in range(410)]
    with pytest.raises(InvalidRequest, match=r"'expanded' makes 1640 .* 'plain' makes 410") as caught:
        schema.check_columns(features, [_number("price")], "regression", max_encoded=1000, expanded=True)
    assert _pointer(caught) == "/spec/encoding"


@pytest.mark.parametrize(
    ("target", "task", "complaint"),
    [
        (_number("y", missing=3), "regression", "'y' has 3 missing values"),
        (_number("y", infinite=2), "regression", "'y' has 2 infinite values"),
        (_number("y", 1), "regression", "'y' has only one value"),
        (_text("y", 1001), "classification", "1001 distinct values and a classification at most 1000"),
    ],
)
def test_a_target_that_cannot_be_learned_is_named(target, task, complaint):
    with pytest.raises(InvalidRequest, match=complaint) as caught:
        _check([_number("a")], target, task)
    assert _pointer(caught) == "/target"


def test_infinite_features_are_named():
    with pytest.raises(InvalidRequest, match="'a' has 1 infinite values"):
        _check([_number("a", infinite=1)], _number("y"))


def test_constant_and_empty_columns_alone_teach_nothing():
    with pytest.raises(InvalidRequest, match="constant or empty"):
        _check([_number("a", 1), _number("b", 0, missing=100)], _number("y"))
    _check([_number("a", 1, missing=5)], _number("y"))


@pytest.mark.parametrize(
    ("validation", "needed"),
    [(None, 2), (Validation(fraction=0.2), 3), (Validation(folds=2), 4), (Validation(folds=5), 10)],
)
def test_too_few_rows_are_refused_with_the_number_needed(validation, needed):
    _check([_number("a")], _number("y"), rows=needed, validation=validation)
    with pytest.raises(InvalidRequest, match=f"has {needed - 1} rows; this fit needs at least {needed}"):
        _check([_number("a")], _number("y"), rows=needed - 1, validation=validation)


def test_a_validation_dataset_needs_the_same_columns():
    needed = [_number("a"), _text("b")]
    schema.check_validation_dataset(needed, schema.by_name([_text("b"), _number("a"), _text("more")]))
    schema.check_validation_dataset(needed, schema.by_name([_text("a", 0, missing=9), _text("b")]))
    with pytest.raises(InvalidRequest, match="no column 'b'"):
        schema.check_validation_dataset(needed, schema.by_name([_number("a")]))
    with pytest.raises(InvalidRequest, match="'a' is numeric in the training dataset and categorical in this one"):
        schema.check_validation_dataset(needed, schema.by_name([_text("a"), _text("b")]))


def test_a_dataset_to_predict_needs_what_the_model_reads():
    features = [ModelColumn(name="a", type="numeric"), ModelColumn(name="b", type="categorical")]
    schema.check_predict(features, schema.by_name([_number("b"), _number("a"), _text("more")]))
    with pytest.raises(ColumnMismatch, match="lacks columns that the model reads: a, b"):
        schema.check_predict(features, schema.by_name([_text("more")]))
    with pytest.raises(ColumnMismatch, match="'a' is numeric for the model and categorical in the dataset"):
        schema.check_predict(features, schema.by_name([_text("a"), _text("b")]))
    with pytest.raises(ColumnMismatch, match="'a' has 4 infinite values"):
        schema.check_predict(features, schema.by_name([_number("a", infinite=4), _text("b")]))
