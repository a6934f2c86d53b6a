import numpy as np
import pyarrow as pa
import pytest
import torch

from worker.contracts.errors import TooWide
from worker.contracts.resources import ModelColumn
from worker.contracts.specs import FitSpec
from worker.engine.targets import RegressionTargets
from worker.engine.weights import RowWeights
from worker.tables.encoding.encoder import Encoder
from worker.training.model_selection import MAX_FLOAT64_ROWS, MOST_OUTPUTS, Candidates, choose, run_summaries
from worker.training.rows import TrainingRows, encoded_rows

CLOSED = {"encoding": "plain", "feature_matrix": "full", "exponent": 1.3}
QUICK = {"iterations": 1}


def _loader(values, y, loaded):
    """Return what reads the table as a spec wants it, and notes which encodings were asked for."""
    table = pa.table({f"c{index}": column for index, column in enumerate(values.T.tolist())})
    features = [ModelColumn(name=name, type="numeric") for name in table.column_names]

    def load(spec):
        loaded.append(spec.encoding)
        encoder = Encoder.fit(
            table, features, standardize=True, normalize_rows=False, expanded=spec.encoding == "expanded"
        )
        X = torch.from_numpy(encoder.encode(table))
        return TrainingRows(X, y, RegressionTargets.fit(y), None, encoder, None)

    return load


def _rows(n=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return values, values


def _choose(spec, values, y):
    loaded = []
    choice = choose(spec, _loader(values.numpy(), y, loaded))
    return choice, loaded


def test_a_spec_that_leaves_nothing_open_is_fitted_as_it_is():
    values, X = _rows()
    choice, loaded = _choose(FitSpec(**CLOSED, precision="float32"), values, X[:, :1].sin())
    assert choice.runs == ()
    assert loaded == ["plain"]
    assert choice.spec == FitSpec(**CLOSED, precision="float32")


def test_steps_of_a_column_are_seen_by_bins_and_the_best_ridge_comes_along():
    values, X = _rows(900)
    edge = X[:, 0].quantile(0.375)
    y = (X[:, :1] > edge).double()
    choice, loaded = _choose(FitSpec(feature_matrix="full", exponent=1.3, **QUICK), values, y)
    assert sorted(loaded) == ["expanded", "plain"]
    assert choice.spec.encoding == "expanded"
    best = min((run for run in choice.runs if run.rung == 1), key=lambda run: run.loss)
    assert choice.spec.ridge == best.ridge
    assert choice.rows.encoder.names[1] == "c0:rank"
    shown = run_summaries(choice.runs)
    assert [one.loss for one in shown] == [run.loss[0] for run in choice.runs]
    assert {one.encoding for one in shown} == {"plain", "expanded"}


def test_a_ridge_that_is_given_stays():
    values, X = _rows()
    choice, _ = _choose(FitSpec(ridge=0.5, encoding="plain", **QUICK), values, X[:, :1].sin())
    assert choice.runs
    assert choice.spec.ridge == 0.5
    assert {run.ridge for run in choice.runs} == {0.5}


def test_encodings_that_are_the_same_run_once():
    values = torch.randint(0, 2, (300, 2), generator=torch.Generator().manual_seed(0)).double()
    choice, _ = _choose(FitSpec(feature_matrix="full", **QUICK), values, values[:, :1] * values[:, 1:])
    assert {run.candidate.encoding for run in choice.runs} == {"plain"}
    assert len({run.candidate for run in choice.runs}) == 2, "the two exponents"


@pytest.mark.parametrize(("n", "precision"), [(MAX_FLOAT64_ROWS, "float64"), (MAX_FLOAT64_ROWS + 1, "auto")])
def test_few_rows_are_fitted_in_double_precision(n, precision):
    values, X = _rows(n)
    choice, _ = _choose(FitSpec(**CLOSED, **QUICK), values, X[:, :1].sin())
    assert choice.spec.precision == precision
    asked, _ = _choose(FitSpec(**CLOSED, **QUICK, precision="float32"), values, X[:, :1].sin())
    assert asked.spec.precision == "float32"


def test_two_rows_are_too_few_to_race_and_still_fit():
    values, X = _rows(2)
    choice, _ = _choose(FitSpec(feature_matrix="full"), values, X[:, :1])
    assert choice.spec.encoding == "plain"


@pytest.mark.parametrize(
    ("too_wide", "encodings"), [({"expanded"}, {"plain"}), ({"plain"}, {"expanded"}), ({"plain", "expanded"}, None)]
)
def test_an_encoding_that_is_too_wide_leaves_the_race(too_wide, encodings):
    values, X = _rows()
    read = _loader(values.numpy(), X[:, :1].sin(), [])

    def load(spec):
        if spec.encoding in too_wide:
            raise TooWide(f"{spec.encoding} is too wide")
        return read(spec)

    if encodings is None:
        with pytest.raises(TooWide, match="plain is too wide"):
            choose(FitSpec(**QUICK), load)
        return
    choice = choose(FitSpec(**QUICK), load)
    assert {run.candidate.encoding for run in choice.runs} == encodings
    assert {choice.spec.encoding} == encodings


def _shops(shops=80, n=400, effect=1.0, **weighted):
    """Return what reads a table with a column of many shops that have an effect each, and what it was asked for."""
    generator = np.random.default_rng(0)
    codes = generator.integers(0, shops, n)
    table = pa.table({"size": generator.normal(size=n), "shop": [f"s{code}" for code in codes]})
    features = [ModelColumn(name="size", type="numeric"), ModelColumn(name="shop", type="categorical")]
    y = effect * generator.normal(size=shops)[codes] + generator.normal(size=n) / 2
    loaded = []

    def load(spec):
        loaded.append(spec.encoding)
        return encoded_rows(spec, features, None, (table, y[:, None]), None, **weighted)

    return load, loaded


def test_mean_targets_are_tried_once_where_a_column_has_many_categories():
    load, loaded = _shops()
    choice = choose(FitSpec(**QUICK), load)
    assert loaded == ["plain", "expanded", "statistics"]
    first = [run.candidate for run in choice.runs if run.rung == 0]
    assert [one.encoding for one in first].count("statistics") == 1
    assert len(first) == 9
    assert choice.spec.encoding == "statistics"
    assert choice.rows.encoder.names[-1] == "shop: target mean"


@pytest.mark.parametrize(
    ("spec", "table"),
    [
        ({}, {"shops": 20}),
        ({"encoding": "expanded"}, {}),
        ({"standardize": False}, {}),
        ({}, {"weights": RowWeights(torch.ones(400, dtype=torch.float64))}),
    ],
    ids=["few categories", "another encoding", "no standard scale", "weights"],
)
def test_else_mean_targets_are_not_tried(spec, table):
    load, loaded = _shops(**table)
    choose(FitSpec(**QUICK, **spec), load)
    assert "statistics" not in loaded


def test_mean_targets_are_not_tried_by_blocks_in_searches_or_of_many_outputs(monkeypatch):
    load, loaded = _shops()
    assert "statistics" not in Candidates.of(FitSpec(), load).rows
    monkeypatch.setattr("worker.training.model_selection.MOST_OUTPUTS", 0)
    assert "statistics" not in Candidates.of(FitSpec(), load, statistics=True).rows
    assert "statistics" not in loaded
    assert MOST_OUTPUTS > 2


def test_mean_targets_that_make_too_many_columns_leave_the_race():
    load, _ = _shops()

    def narrow(spec):
        if spec.encoding == "statistics":
            raise TooWide("too wide")
        return load(spec)

    assert set(Candidates.of(FitSpec(), narrow, statistics=True).rows) == {"plain", "expanded"}


def test_rows_to_validate_on_are_in_no_mean_target():
    generator = np.random.default_rng(0)
    table = pa.table({"shop": [f"s{code}" for code in generator.integers(0, 40, 300)]})
    features = [ModelColumn(name="shop", type="categorical")]
    y = generator.normal(size=(300, 1))
    spec = FitSpec(encoding="statistics")
    training, held = (table.slice(0, 200), y[:200]), table.slice(200)
    one, other = (encoded_rows(spec, features, None, training, (held, values)) for values in (y[200:], y[200:] + 9))
    assert torch.equal(one.X, other.X)
    assert torch.equal(one.validation[0], other.validation[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [({"standardize": False}, "'statistics' needs standardize"), ({"solver": "blocks"}, "not 'blocks'")],
)
def test_mean_targets_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        FitSpec(encoding="statistics", **options)
