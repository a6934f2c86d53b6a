"""The same search for every method: so many trials of the same sampler, judged on the validation rows.

Spaces of the peers are those usual for them; xRFM's is the one that the tabular benchmark library pytabkit searches.
Trees stop early on the validation rows in every trial. Ours searches the service's own default space from what a fit
without options chooses, and is then fitted with the best trial, the validation rows included.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from worker.contracts.search import OptionValue, SearchOption
from worker.contracts.specs import FitSpec
from worker.training import search_space
from worker.training.search import best, search

if TYPE_CHECKING:
    from benchmarks.tables import Task

Predict = Callable[[np.ndarray], np.ndarray]
Params = Mapping[str, OptionValue]
TUNED = ("fact-rfm", "xRFM", "LightGBM", "XGBoost", "kernel")

TREES = {
    "LightGBM": {
        "learning_rate": SearchOption(low=0.01, high=0.3, log=True),
        "num_leaves": SearchOption(low=4, high=256, log=True, integer=True),
        "min_child_samples": SearchOption(low=1, high=100, log=True, integer=True),
        "subsample": SearchOption(low=0.5, high=1.0),
        "colsample_bytree": SearchOption(low=0.4, high=1.0),
        "reg_lambda": SearchOption(low=1e-3, high=100, log=True),
    },
    "XGBoost": {
        "learning_rate": SearchOption(low=0.01, high=0.3, log=True),
        "max_depth": SearchOption(low=2, high=11, integer=True),
        "min_child_weight": SearchOption(low=1e-2, high=100, log=True),
        "subsample": SearchOption(low=0.5, high=1.0),
        "colsample_bytree": SearchOption(low=0.4, high=1.0),
        "reg_lambda": SearchOption(low=1e-3, high=100, log=True),
    },
}
XRFM = {
    "bandwidth": SearchOption(low=0.5, high=200, log=True),
    "reg": SearchOption(low=1e-6, high=10, log=True),
    "exponent": SearchOption(low=0.7, high=1.4),
    "diag": SearchOption(choices=[False, True]),
}
KERNEL = ("bandwidth_factor", "ridge", "exponent")
DEFAULTS: dict[str, dict[str, OptionValue]] = {
    "LightGBM": {
        "learning_rate": 0.1,
        "num_leaves": 31,
        "min_child_samples": 20,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "reg_lambda": 1e-3,
    },
    "XGBoost": {
        "learning_rate": 0.3,
        "max_depth": 6,
        "min_child_weight": 1.0,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "reg_lambda": 1.0,
    },
    "xRFM": {"bandwidth": 10.0, "reg": 1e-3, "exponent": 1.0, "diag": False},
}


def tuned(method: str, trials: int, seed: int) -> Callable[["Task"], Predict]:
    """Return what fits the method by a search of so many trials."""

    def fit(task: "Task") -> Predict:
        if method in ("fact-rfm", "kernel"):
            return _ours(task, trials, seed, features=method == "fact-rfm")
        options = XRFM if method == "xRFM" else TREES[method]
        models: dict[int, Predict] = {}

        def run(number: int, params: Params) -> Iterator[tuple[float, ...]]:
            models[number] = (_xrfm if method == "xRFM" else _tree)(method, task, params)
            yield _loss(task, models[number])

        ended = list(search(run, options, trials=trials, seed=seed, first=DEFAULTS[method], failures=(Exception,)))
        winner = best(ended)
        if winner is None:
            raise RuntimeError(f"every trial of {method} failed: {ended[0].reason}")
        return models[winner.number if winner.same_as is None else winner.same_as]

    return fit


def _loss(task: "Task", predict: Predict) -> tuple[float, ...]:
    answers = predict(task.X_val)
    if task.classes is not None:
        return (float((answers != task.y_val).mean()),)
    return (float(((answers - task.y_val) ** 2).mean()),)


def _ours(task: "Task", trials: int, seed: int, *, features: bool) -> Predict:
    from factrfm import FactRFMClassifier, FactRFMRegressor

    kind = FactRFMRegressor if task.classes is None else FactRFMClassifier
    held_out = (task.X_val, task.y_val)
    if features:
        start = FitSpec(**kind(refit=False).fit(task.X, task.y, validation=held_out).spec_)
        options = search_space.resolve(FitSpec(), None)
    else:
        start = FitSpec(update="none", encoding="plain", exponent=1.0, ridge=1e-2, feature_matrix="full")
        options = {name: search_space.DEFAULT[name] for name in KERNEL}

    def model(params: Params, **further: Any) -> Any:
        spec = search_space.configured(start, params).model_copy(update={"ridge": params["ridge"], **further})
        return kind(**spec.model_dump()).fit(task.X, task.y, validation=held_out)

    def run(number: int, params: Params) -> Iterator[tuple[float, ...]]:
        metric = "validation_rmse" if task.classes is None else "validation_brier"
        yield (min(one[metric] for one in model(params, refit=False).history_),)

    def applies(name: str, params: Params) -> bool:
        return search_space.applies(start, name, params)

    first = search_space.values_of(start, options)
    ended = list(search(run, options, trials=trials, seed=seed, first=first, applies=applies, failures=(ValueError,)))
    winner = best(ended)
    if winner is None:
        raise RuntimeError(f"every trial failed: {ended[0].reason}")
    return model(winner.params, refit=features).predict


def _tree(method: str, task: "Task", params: Params) -> Predict:
    threads = torch.get_num_threads()
    if method == "LightGBM":
        import lightgbm

        kind = lightgbm.LGBMRegressor if task.classes is None else lightgbm.LGBMClassifier
        model = kind(n_estimators=2000, n_jobs=threads, verbose=-1, subsample_freq=1, **params)
        stopping = lightgbm.early_stopping(50, verbose=False)
        return model.fit(task.X, task.y, eval_set=[(task.X_val, task.y_val)], callbacks=[stopping]).predict
    import xgboost

    kind = xgboost.XGBRegressor if task.classes is None else xgboost.XGBClassifier
    model = kind(n_estimators=2000, n_jobs=threads, early_stopping_rounds=50, **params)
    return model.fit(task.X, task.y, eval_set=[(task.X_val, task.y_val)], verbose=False).predict


def _xrfm(method: str, task: "Task", params: Params) -> Predict:
    from xrfm import xRFM

    mean, scale = task.X.mean(0), task.X.std(0)
    scale[scale == 0] = 1.0
    centre, spread = (task.y.mean(), task.y.std()) if task.classes is None else (0.0, 1.0)

    def tensor(X: np.ndarray) -> torch.Tensor:
        return torch.tensor((X - mean) / scale, dtype=torch.float32)

    def target(y: np.ndarray) -> torch.Tensor:
        if task.classes is not None:
            return torch.tensor(y)
        return torch.tensor((y - centre) / spread, dtype=torch.float32)[:, None]

    own = {
        "model": {
            "kernel": "l2",
            "exponent": params["exponent"],
            "bandwidth": params["bandwidth"],
            "diag": params["diag"],
            "bandwidth_mode": "constant",
        },
        "fit": {
            "reg": params["reg"],
            "iters": 5,
            "M_batch_size": len(task.X),
            "verbose": False,
            "early_stop_rfm": True,
        },
    }
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = xRFM(own, device="cpu", random_state=0)
        model.fit(tensor(task.X), target(task.y), tensor(task.X_val), target(task.y_val))

    def predict(X: np.ndarray) -> np.ndarray:
        answers = np.asarray(model.predict(tensor(X))).ravel()
        return answers.astype(np.int64) if task.classes is not None else answers * spread + centre

    return predict
