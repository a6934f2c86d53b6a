import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from worker.contracts.errors import UnknownCategories
from worker.contracts.specs import FitSpec
from worker.engine.config import FitConfig
from worker.engine.errors import NotPositiveDefinite
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.targets import RegressionTargets
from worker.estimators import FactRFMClassifier, FactRFMRegressor
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack
from worker.tables.encoding import splits

CLOSED = {"encoding": "plain", "feature_matrix": "full", "exponent": 1.3, "ridge": 0.1}


NOT_WITH_ROWS_HELD_OUT = {
    "check_sample_weight_equivalence_on_dense_data": "which rows are held out depends on how many there are; "
    "without rows held out and choices it passes, see test_weights"
}


@parametrize_with_checks(
    [FactRFMClassifier(), FactRFMRegressor()], expected_failed_checks=lambda estimator: NOT_WITH_ROWS_HELD_OUT
)
def test_conventions_of_scikit_learn_are_kept(estimator, check):
    check(estimator)


def test_parameters_and_defaults_are_those_of_the_spec():
    parameters = inspect.signature(FactRFMRegressor).parameters
    defaults = {name: one.default for name, one in parameters.items()}
    assert defaults.pop("validation_fraction") == 0.2
    assert defaults.pop("device") == "cpu"
    assert [defaults.pop(name) for name in ("random_state", "verbose", "callbacks")] == [None, 0, None]
    assert defaults.pop("keep_feature_matrices") is True
    assert defaults.pop("columns") is None
    assert defaults == FitSpec().model_dump()


def _frame(n=200, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "length": generator.normal(size=n),
            "noise": generator.normal(size=n),
            "colour": generator.choice(["red", "green", "blue"], size=n),
            "open": generator.random(n) < 0.5,
        }
    )
    y = frame["length"] ** 2 + 2.0 * (frame["colour"] == "red") + 0.01 * generator.normal(size=n)
    frame.loc[5, "length"] = np.nan
    frame.loc[6, "colour"] = None
    return frame, y.fillna(0.0).to_numpy()


def test_it_is_the_engine_on_standardised_rows():
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(120, 4)), generator.normal(size=120)
    model = FactRFMRegressor(**CLOSED, validation_fraction=None, iterations=2).fit(X, y)
    rows = torch.from_numpy((X - X.mean(0)) / X.std(0))
    Y = torch.from_numpy(y[:, None])
    config = FitConfig(ridge=0.1, iterations=2, exponent=1.3, precision="float64")
    targets = RegressionTargets.fit(Y)
    last = list(iterate(rows, Y, targets, config))[-1].current
    bare = FittedModel.from_iterate(rows, last, config, targets)
    np.testing.assert_allclose(model.predict(X), bare.predict(rows)[:, 0].numpy(), rtol=1e-9)
    np.testing.assert_allclose(model.feature_matrix_, last.M.numpy(), rtol=1e-9)
    assert [one["iteration"] for one in model.history_] == [0, 1, 2]
    assert (model.best_iteration_, model.n_iter_) == (2, 3)


def test_a_frame_with_texts_truths_and_gaps_is_learned_from():
    frame, y = _frame()
    model = FactRFMRegressor().fit(frame, y)
    assert model.score(frame, y) > 0.9
    assert model.feature_names_in_.tolist() == ["length", "noise", "colour", "open"]
    assert model.feature_importances_.sum() == pytest.approx(1.0)
    assert model.feature_importances_.argmax() == 0
    assert "colour=red" in model.encoded_feature_names_
    assert model.feature_matrix_.shape == (len(model.encoded_feature_names_),) * 2
    assert {one["encoding"] for one in model.choices_} == {"plain", "expanded"}
    assert model.spec_["encoding"] in ("plain", "expanded")


def test_categories_of_a_frame_may_come_in_another_order_and_unseen():
    frame, y = _frame()
    model = FactRFMRegressor(**CLOSED).fit(frame, y)
    shuffled = frame[["length", "noise", "colour", "open"]].astype({"colour": "category"})
    np.testing.assert_array_equal(model.predict(shuffled), model.predict(frame))
    with pytest.warns(UnknownCategories, match=f"colour \\({len(frame)} rows\\)"):
        assert np.isfinite(model.predict(frame.assign(colour="violet"))).all()


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True], [1.0, 2.0]])
def test_labels_keep_their_type_through_files_and_pickles(labels, tmp_path):
    frame, y = _frame()
    y = np.array(labels)[(y > 1).astype(int)]
    model = FactRFMClassifier(iterations=1).fit(frame, y)
    model.save(tmp_path / "model.safetensors")
    loaded = FactRFMClassifier.load(tmp_path / "model.safetensors")
    unpickled = pickle.loads(pickle.dumps(model))
    for other in (loaded, unpickled):
        np.testing.assert_array_equal(other.predict(frame), model.predict(frame))
        np.testing.assert_array_equal(other.predict_proba(frame), model.predict_proba(frame))
        assert other.classes_.tolist() == labels
        np.testing.assert_array_equal(other.feature_importances_, model.feature_importances_)


def test_several_outputs_through_a_file(tmp_path):
    frame, y = _frame()
    Y = np.column_stack([y, -2.0 * y])
    model = FactRFMRegressor(iterations=1).fit(frame, Y)
    assert model.predict(frame).shape == Y.shape
    model.save(tmp_path / "model.safetensors")
    loaded = FactRFMRegressor.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    with pytest.raises(ValueError, match="holds a regression, which is not for FactRFMClassifier"):
        FactRFMClassifier.load(tmp_path / "model.safetensors")


def test_the_file_is_one_that_the_service_reads(tmp_path):
    frame, y = _frame()
    model = FactRFMRegressor(iterations=1).fit(frame, y)
    model.save(tmp_path / "model.safetensors")
    served = ServedModel.from_tensors(*unpack((tmp_path / "model.safetensors").read_bytes()))
    table, _ = model._table(frame, fitting=False)
    np.testing.assert_array_equal(served.predict(table).predictions[:, 0], model.predict(frame))


def test_given_rows_validate_and_then_join_the_last_solve_unless_told_not_to():
    frame, y = _frame(300)
    own, held_out = (frame[:200], y[:200]), (frame[200:], y[200:])
    alone = FactRFMRegressor(**CLOSED, refit=False).fit(*own, validation=held_out)
    together = FactRFMRegressor(**CLOSED).fit(*own, validation=held_out)
    assert len(alone.model_.fitted.X) == 200
    assert len(together.model_.fitted.X) == 300
    assert alone.best_iteration_ == together.best_iteration_
    np.testing.assert_array_equal(alone.feature_matrix_, together.feature_matrix_)
    best = alone.history_[alone.best_iteration_]["validation_rmse"]
    assert np.sqrt(((alone.predict(held_out[0]) - held_out[1]) ** 2).mean()) == pytest.approx(best, rel=1e-6)


def test_the_same_seed_gives_the_same_model_and_a_class_of_one_row_trains():
    frame, y = _frame()
    labels = np.where(y > 1, "high", "low").astype(object)
    labels[0] = "single"
    one, other = (FactRFMClassifier(iterations=1, seed=3).fit(frame, labels) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(frame), other.predict_proba(frame))
    assert one.classes_.tolist() == ["high", "low", "single"]
    assert clone(one).get_params() == one.get_params()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": -1.0}, r"ridge: .*greater than or equal to 0, not -1.0"),
        ({"kernel": "cubic"}, r"kernel: .*'laplace'.*, not 'cubic'"),
        ({"validation_fraction": 1.5}, r"validation_fraction must be None or lie in \(0, 1\), not 1.5"),
        ({"update": "none", "geometric_average": True}, "geometric_average is for update 'fact', not 'none'"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value(options, message):
    frame, y = _frame(50)
    with pytest.raises(ValueError, match=message):
        FactRFMRegressor(**options).fit(frame, y)


def test_wrong_rows_are_named():
    frame, y = _frame(50)
    with pytest.raises(ValueError, match="X has 50 rows and y has 49"):
        FactRFMRegressor().fit(frame, y[:-1])
    with pytest.raises(ValueError, match="column 'noise' of X contains infinity"):
        FactRFMRegressor().fit(frame.assign(noise=np.inf), y)
    with pytest.raises(ValueError, match="label 'c' of the validation rows does not occur in y"):
        FactRFMClassifier().fit(frame, np.array(["a", "b"] * 25), validation=(frame[:1], np.array(["c"])))


PLAIN = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1.0}


def _line(n=40, seed=1):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 3))
    return X, 2 * X[:, 0] + X[:, 1]


@pytest.mark.filterwarnings("ignore:the validation rows could not join")
@pytest.mark.parametrize("size", [1e3, 1e5, 1e6, 1e8, 1e12, 1e19, 1e25])
def test_one_row_far_from_all_others_spoils_nothing(size):
    X, y = _line(1500)
    _, held = splits.holdout(len(y), 0.2, 0, None)
    X[held[0], 2] = size
    model = FactRFMRegressor(**PLAIN).fit(X, y)
    T, wanted = _line(300, seed=2)
    assert model.refitted_ == (size < 1e20), "beyond, its square is more than float32 holds"
    assert model.score(T, wanted) > 0.95


def test_rows_that_cannot_join_the_last_solve_are_told_and_lose_no_model(monkeypatch):
    def refuse(*arguments):
        raise NotPositiveDefinite("not today")

    X, y = _line(100)
    expected = FactRFMRegressor(**PLAIN, refit=False).fit(X, y).predict(X)
    monkeypatch.setattr("worker.training.pipeline.refit", refuse)
    with pytest.warns(UserWarning, match="could not join the last solve: not today"):
        model = FactRFMRegressor(**PLAIN).fit(X, y)
    assert not model.refitted_
    np.testing.assert_array_equal(model.predict(X), expected)


def test_validation_rows_whose_loss_is_no_number_are_refused():
    X, y = _line()
    far = X[:10].copy()
    far[3] = 1e6
    with pytest.raises(ValueError, match="not finite"):
        FactRFMRegressor(kernel="exponential", refit=False).fit(X, y, validation=(far, y[:10]))


@pytest.mark.parametrize(
    ("rows", "answers", "message"),
    [
        (slice(10), slice(1), "has 10 rows and y has 1"),
        (slice(10), slice(7), "has 10 rows and y has 7"),
        (slice(10), "twice", r"the shape \(10, 2\)"),
    ],
)
def test_validation_rows_of_another_shape_are_refused(rows, answers, message):
    X, y = _line()
    given = np.c_[y, y][:10] if answers == "twice" else y[answers]
    with pytest.raises(ValueError, match=message):
        FactRFMRegressor(**PLAIN).fit(X, y, validation=(X[rows], given))
    with pytest.raises(ValueError, match="a pair of X and y"):
        FactRFMRegressor(**PLAIN).fit(X, y, validation=3)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names", "ignore:X has feature names")
def test_arrays_and_frames_go_together_by_the_order_of_columns(tmp_path):
    X, y = _line()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    one, other = FactRFMRegressor(**PLAIN).fit(frame, y), FactRFMRegressor(**PLAIN).fit(X, y)
    np.testing.assert_array_equal(one.predict(X), one.predict(frame))
    np.testing.assert_array_equal(other.predict(frame), other.predict(X))
    one.save(tmp_path / "one")
    np.testing.assert_array_equal(FactRFMRegressor.load(tmp_path / "one").predict(X), one.predict(X))
    again = FactRFMRegressor(**PLAIN).fit(frame, y, validation=(X[:10], y[:10]))
    assert again.refitted_
    with pytest.raises(ValueError, match="3 columns"):
        one.predict(X[:, :2])


def test_whole_numbers_are_one_category_however_pandas_holds_them():
    codes = np.arange(60) % 3 + 1
    frame = pd.DataFrame({"code": pd.Categorical(codes)})
    model = FactRFMRegressor(**PLAIN).fit(frame, codes * 10.0)
    asked = pd.DataFrame({"code": pd.Categorical([1.0, 3.0])})
    np.testing.assert_array_equal(model.predict(asked), model.predict(pd.DataFrame({"code": pd.Categorical([1, 3])})))


@pytest.mark.parametrize("column", [pd.timedelta_range("1h", periods=40), np.arange(40) + 1j])
def test_columns_that_cannot_be_learned_from_are_named(column):
    X, y = _line()
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(when=column)
    with pytest.raises(ValueError, match=r"column 'when'.* holds"):
        FactRFMRegressor(**PLAIN).fit(frame, y)


@pytest.mark.parametrize("texts", [False, True])
def test_dates_of_a_frame_are_learned_from(texts):
    days = pd.date_range("2024-01-01", periods=120, freq="3D")
    y = np.cos(2 * np.pi * (days.month - 1) / 12)
    frame = pd.DataFrame({"day": days.strftime("%d.%m.%Y") if texts else days, "n": np.arange(120) % 5})
    model = FactRFMRegressor(**PLAIN).fit(frame, y)
    assert model.encoded_feature_names_[:3] == ["day: position", "day: month sin", "day: month cos"]
    assert model.score(frame, y) > 0.9
    assert len(model.feature_importances_) == 2
    zoned = frame.assign(day=days.tz_localize("UTC").tz_convert("Asia/Tokyo"))
    np.testing.assert_allclose(model.predict(zoned), model.predict(frame))


def test_dates_are_no_labels_and_two_rows_are_enough():
    X, y = _line()
    with pytest.raises(ValueError, match="y holds datetime64"):
        FactRFMClassifier(**PLAIN).fit(X, np.array(["2020-01-01", "2020-01-02"] * 20, dtype="M8[D]"))
    assert np.isfinite(FactRFMRegressor(**PLAIN).fit(X[:2], y[:2]).predict(X)).all()


@pytest.mark.parametrize("options", [{"bandwidth": 1e-300}, {"bandwidth_factor": 1e-300}, {"validation_fraction": "x"}])
def test_options_out_of_range_are_named(options):
    X, y = _line()
    with pytest.raises(ValueError, match=next(iter(options))):
        FactRFMRegressor(**options).fit(X, y)
    with pytest.raises(ValueError, match=r"^exponent is for kernel 'generalized', not 'laplace'$"):
        FactRFMRegressor(kernel="laplace", exponent=1.0).fit(X, y)


def test_what_cannot_be_used_is_named(tmp_path):
    X, y = _line()
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="text is no model"):
        FactRFMRegressor.load(tmp_path / "text")
    with pytest.raises(ValueError, match="several columns named 'a'"):
        FactRFMRegressor(**PLAIN).fit(pd.DataFrame(X, columns=["a", "b", "a"]), y)
    for device in ("bogus", "cuda:77"):
        with pytest.raises(ValueError, match=f"such as cpu, not '{device}'"):
            FactRFMRegressor(device=device).fit(X, y)


def test_wide_rows_keep_to_the_bound_of_the_service():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 1100)), rng.normal(size=20)
    model = FactRFMRegressor(iterations=0).fit(X, y)
    assert {run["encoding"] for run in model.choices_} == {"plain"}
    with pytest.raises(
        ValueError, match=r"'expanded' makes 4400 encoded columns and at most 4096 .* 'plain' makes 1100"
    ):
        FactRFMRegressor(iterations=0, encoding="expanded").fit(X, y)
    with pytest.raises(ValueError, match="make 4200 encoded columns and at most 4096 are allowed; learn from fewer"):
        FactRFMRegressor(iterations=0).fit(rng.normal(size=(4, 4200)), y[:4])


def test_it_says_what_chose_the_iteration():
    frame, y = _frame()
    X = frame[["length", "noise"]].fillna(0).to_numpy()
    assert FactRFMRegressor(**CLOSED, iterations=2).fit(X, y).chosen_by_ == "validation"
    alone = FactRFMRegressor(**CLOSED, iterations=4, validation_fraction=None).fit(X, y)
    losses = [one["leave_one_out_rmse"] for one in alone.history_]
    assert (alone.chosen_by_, alone.best_iteration_) == ("leave_one_out", losses.index(min(losses)))
    last = FactRFMRegressor(**CLOSED, iterations=2, validation_fraction=None, solver="cg").fit(X, y)
    assert (last.chosen_by_, last.best_iteration_) == ("last", 2)


def test_importance_does_not_grow_with_the_number_of_categories_of_noise():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{index}": generator.normal(size=600) for index in range(3)})
    frame["merchant"] = [f"m{one}" for one in generator.integers(0, 200, 600)]
    model = FactRFMRegressor(**CLOSED, iterations=2).fit(frame, np.sin(frame["x0"]) + 0.1 * generator.normal(size=600))
    M, X = np.diagonal(model.feature_matrix_), model.model_.fitted.X.numpy()
    shares = M * X.var(axis=0) / (M * X.var(axis=0)).sum()
    merchants = [name.startswith("merchant") for name in model.encoded_feature_names_]
    assert model.features_learned_
    assert model.feature_importances_[3] == pytest.approx(shares[merchants].sum())
    assert model.feature_importances_.argmax() == 0
    assert model.feature_importances_[3] < 0.2


@pytest.mark.parametrize("options", [{"iterations": 0}, {"update": "none"}])
def test_an_estimator_that_learned_nothing_of_its_features_says_so(tmp_path, options):
    frame, y = _frame()
    model = FactRFMRegressor(**{**CLOSED, **options}).fit(frame, y)
    model.save(tmp_path / "model.safetensors")
    for one in (model, FactRFMRegressor.load(tmp_path / "model.safetensors")):
        assert not one.features_learned_
        with pytest.warns(UserWarning, match="learned nothing of its features"):
            assert one.feature_importances_.sum() == pytest.approx(1)


def test_an_estimator_says_what_its_validation_rows_also_chose():
    frame, y = _frame()
    assert FactRFMRegressor(**CLOSED).fit(frame, y).validation_chose_ == ["iteration"]
    assert FactRFMRegressor(**CLOSED, validation_fraction=None).fit(frame, y).validation_chose_ == []
    assert FactRFMRegressor().fit(frame, y).validation_chose_[-2:] == ["ridge", "iteration"]


def test_far_rows_are_answered_by_how_frequent_each_class_is():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(300, 2))
    y = (X[:, 0] > 1).astype(int)
    found = FactRFMClassifier().fit(X, y).predict_proba(np.full((1, 2), 1e9))
    assert found[0, 1] == pytest.approx(y.mean(), abs=0.01)


def test_a_fit_by_blocks_is_refused_with_what_would_be_right():
    with pytest.raises(ValueError, match="among a service's workers; here it is auto, cholesky or cg"):
        FactRFMRegressor(solver="blocks").fit(*_line())
