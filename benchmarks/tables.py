"""Accuracy on tables beside peers: no options given, and the same number of tuning trials for each.

Twenty sets of 5,000 to 100,000 rows. Of each, ``--rows`` training rows are drawn from its training part by the seed, a
third as many from its validation part, and at most 3,000 from its test part, which nothing sees before the end. Errors
are RMSE over the deviation of the training target, or the share of wrong classes. Searches have fewer training rows.

Every method is given both the training and the validation rows, and uses the latter as it is made to: ours to choose,
and then, unless "no refit", to train; xRFM to choose; trees to stop early; kernel and linear regression to choose their
ridge. "kernel" is our machine without learned features, on standardised columns, ridge by validation, without refit.
A class that the training rows lack is left out of the validation rows.
"""

import argparse
import contextlib
import hashlib
import io
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import Cell, Report
from benchmarks.tuning import TUNED, tuned

Predict = Callable[[np.ndarray], np.ndarray]
FIVE = ("fact-rfm", "xRFM", "LightGBM", "XGBoost", "kernel")
ABLATIONS: dict[str, dict[str, Any]] = {
    "no refit": {"refit": False},
    "plain encoding": {"encoding": "plain"},
    "expanded encoding": {"encoding": "expanded"},
    "full M": {"feature_matrix": "full"},
    "diagonal M": {"feature_matrix": "diagonal"},
    "exponent 1": {"exponent": 1.0},
    "exponent 1.3": {"exponent": 1.3},
    "geometric average": {"geometric_average": True},
    "fact or nfa by choice": {"update": "auto"},
    "nfa": {"update": "nfa"},
    "no learned features": {"update": "none"},
    "single ridge": {
        "ridge": 1e-2,
        "encoding": "plain",
        "feature_matrix": "full",
        "exponent": 1.3,
        "refit": False,
    },
}
TEST_ROWS = 3000
MIN_ERROR = 0.01
PATIENCE = 50
ROUNDS = 2000


@dataclass(frozen=True)
class Task:
    """One drawn table: rows to train on, to validate on, to test on; ``classes`` is None for a regression."""

    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    classes: int | None

    def error(self, answers: np.ndarray) -> float:
        if self.classes is not None:
            return float((answers != self.y_test).mean())
        return float(np.sqrt(((answers - self.y_test) ** 2).mean()) / self.y.std())


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="a folder of .npz sets with train, val and test_idx")
    parser.add_argument("--sets", nargs="+", help="names of sets; all by default")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", help="names of methods; all by default")
    parser.add_argument("--ablation", action="store_true", help="also our own variants, on the first seed")
    parser.add_argument("--tuned", type=int, default=0, metavar="TRIALS", help="also a search of each, first seed")
    parser.add_argument("--tuned-rows", type=int, default=1000, help="training rows of the searches")
    parser.add_argument("--work", type=Path, default=Path("build/tables-work"), help="measured cells, to go on from")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    names = arguments.sets or sorted(path.stem for path in arguments.data.glob("*.npz"))
    if not names:
        raise SystemExit(f"no .npz set in {arguments.data}")
    seeds = [arguments.seed + index for index in range(arguments.seeds)]
    methods = arguments.methods or list(METHODS)
    if arguments.quick:
        names, seeds, methods, arguments.rows = names[:2], seeds[:1], methods[:4], 500
    report.note(f"{arguments.rows} training rows, seeds {', '.join(str(seed) for seed in seeds)}.")
    cells: dict[tuple[str, int, str], dict[str, float]] = {}
    for name in names:
        for seed in seeds:
            for method in methods:
                cells[name, seed, method] = _measured(name, seed, method, arguments, METHODS[method])
    _tell(report, "Untuned", names, seeds, methods, cells, arguments)
    if arguments.ablation:
        for name in names:
            for variant, options in ABLATIONS.items():
                cells[name, seeds[0], variant] = _measured(name, seeds[0], variant, arguments, _ours(**options))
        _tell_ablation(report, names, seeds[0], cells, arguments)
    if arguments.tuned:
        arguments.rows = arguments.tuned_rows
        for name in names:
            for method in TUNED:
                fit = tuned(method, arguments.tuned, seeds[0])
                found = _measured(name, seeds[0], f"{method} tuned {arguments.tuned}", arguments, fit)
                cells[name, seeds[0], f"{method} tuned"] = found
        own = [f"{method} tuned" for method in TUNED]
        title = f"After {arguments.tuned} trials on {arguments.rows} training rows, seed {seeds[0]}"
        _tell(report, title, names, seeds[:1], own, cells, arguments)


def draw(data: Path, name: str, rows: int, seed: int) -> Task:
    """Return the rows of one seed."""
    stored = np.load(data / f"{name}.npz", allow_pickle=False)
    X, y = stored["X"].astype(np.float64), stored["y"]
    generator = np.random.default_rng(seed)
    train = generator.permutation(stored["train_idx"])[:rows]
    val = generator.permutation(stored["val_idx"])[: rows // 3]
    test = generator.permutation(stored["test_idx"])[:TEST_ROWS]
    classes = None
    if y.dtype.kind == "i":
        known = np.unique(y[train])
        val = val[np.isin(y[val], known)]
        # codes of the classes that train; a test row of another class is wrong whatever is answered
        codes = np.full(int(y.max()) + 1, -1)
        codes[known] = np.arange(len(known))
        y, classes = codes[y], len(known)
    y = y.astype(np.int64 if classes else np.float64)
    return Task(X[train], y[train], X[val], y[val], X[test], y[test], classes)


def _measured(
    name: str, seed: int, method: str, arguments: argparse.Namespace, fit: Callable[[Task], Predict]
) -> dict[str, float]:
    key = hashlib.sha256(f"{name}/{arguments.rows}/{seed}/{method}/{arguments.threads}".encode()).hexdigest()[:16]
    path = arguments.work / f"{name}-{key}.json"
    if path.exists() and not arguments.quick:
        found: dict[str, float] = json.loads(path.read_text())
        return found
    task = draw(arguments.data, name, arguments.rows, seed)
    started = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        predict = fit(task)
        fitted = time.perf_counter()
        answers = predict(task.X_test)
        found = {
            "error": task.error(answers),
            "fit_s": fitted - started,
            "predict_s": time.perf_counter() - fitted,
        }
    arguments.work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"set": name, "seed": seed, "method": method, **found}))
    print(name, seed, method, {key: float(f"{value:.4g}") for key, value in found.items()}, flush=True)
    return found


def _tell(
    report: Report,
    title: str,
    names: list[str],
    seeds: list[int],
    methods: list[str],
    cells: dict[tuple[str, int, str], dict[str, float]],
    arguments: argparse.Namespace,
) -> None:
    tasks = {name: "classification" if _is_classes(arguments.data, name) else "regression" for name in names}
    suffix = " tuned" if methods[0].endswith(" tuned") else ""
    five = [f"{method}{suffix}" for method in FIVE if f"{method}{suffix}" in methods]
    for kind in ("regression", "classification"):
        own = [name for name in names if tasks[name] == kind]
        if not own:
            continue
        rows: list[list[Cell]] = [
            [name, *(float(np.mean([cells[name, seed, method]["error"] for seed in seeds])) for method in methods)]
            for name in own
        ]
        report.table(f"{title}, {kind}: mean error over seeds", ["set", *methods], rows)
        summary: list[list[Cell]] = []
        for method in methods:
            ratios = [math.log(_over_best(cells, name, seed, methods, method)) for name in own for seed in seeds]
            ranks = [_mean_rank(cells, own, seeds, five, method) if method in five else None]
            if len(methods) > len(five):
                ranks.append(_mean_rank(cells, own, seeds, methods, method))
            summary.append(
                [
                    method,
                    *ranks,
                    math.exp(sum(ratios) / len(ratios)),
                    float(np.mean([cells[name, seed, method]["fit_s"] for name in own for seed in seeds])),
                    float(np.mean([cells[name, seed, method]["predict_s"] for name in own for seed in seeds])),
                ]
            )
        compared = [f"mean rank of {count}" for count in sorted({len(five), len(methods)})]
        columns = ["method", *compared, "error / best, geometric mean", "fit, s", "predict, s"]
        report.table(f"{title}, {kind}: summary", columns, summary)


def _tell_ablation(
    report: Report,
    names: list[str],
    seed: int,
    cells: dict[tuple[str, int, str], dict[str, float]],
    arguments: argparse.Namespace,
) -> None:
    rows: list[list[Cell]] = []
    for variant in ABLATIONS:
        row: list[Cell] = [variant]
        for kind in (False, True):
            own = [name for name in names if _is_classes(arguments.data, name) == kind]
            pairs = [(cells[name, seed, variant]["error"], cells[name, seed, FIVE[0]]["error"]) for name in own]
            # a set where one test row more or less is half of the error would outweigh all others
            ratios = [math.log(theirs / ours) for theirs, ours in pairs if min(theirs, ours) >= MIN_ERROR]
            row.append(math.exp(sum(ratios) / len(ratios)) if ratios else None)
            row.append(f"{sum(t < o for t, o in pairs)}-{sum(t == o for t, o in pairs)}-{sum(t > o for t, o in pairs)}")
        row.append(float(np.mean([cells[name, seed, variant]["fit_s"] for name in names])))
        rows.append(row)
    whole = float(np.mean([cells[name, seed, FIVE[0]]["fit_s"] for name in names]))
    rows.append(["(no options)", 1.0, None, 1.0, None, whole])
    ways = [(f"{kind}, error / ours", "better-equal-worse") for kind in ("regression", "classification")]
    columns = ["variant", *(name for way in ways for name in way), "fit, s"]
    report.table(f"Ablation, seed {seed}: geometric mean of the error over that of no options", columns, rows)
    report.note(f"Sets where either error is below {MIN_ERROR} are left out of the geometric mean, not of the counts.")
    single = [cells[name, seed, FIVE[0]]["fit_s"] / cells[name, seed, "single ridge"]["fit_s"] for name in names]
    report.note(
        f"A fit without options takes {np.exp(np.mean(np.log(single))):.2f} times as long as one with a single ridge, "
        f"encoding, kernel and form of M (geometric mean; most {max(single):.2f})."
    )


def _mean_rank(
    cells: dict[tuple[str, int, str], dict[str, float]],
    names: list[str],
    seeds: list[int],
    methods: list[str],
    method: str,
) -> float:
    """Return the mean over sets of the rank of the method's mean error over seeds; equal errors share a rank."""
    ranks = []
    for name in names:
        errors = {one: np.mean([cells[name, seed, one]["error"] for seed in seeds]) for one in methods}
        below = sum(error < errors[method] for error in errors.values())
        equal = sum(error == errors[method] for error in errors.values())
        ranks.append(below + (equal + 1) / 2)
    return float(np.mean(ranks))


def _over_best(
    cells: dict[tuple[str, int, str], dict[str, float]], name: str, seed: int, methods: list[str], method: str
) -> float:
    best = min(_floored(cells[name, seed, one]["error"]) for one in methods)
    return _floored(cells[name, seed, method]["error"]) / best


def _floored(error: float) -> float:
    """An error of nothing has no logarithm: half a test row stands for it."""
    return max(error, 0.5 / TEST_ROWS)


def _is_classes(data: Path, name: str) -> bool:
    return bool(np.load(data / f"{name}.npz", allow_pickle=False)["y"].dtype.kind == "i")


def _ours(**options: Any) -> Callable[[Task], Predict]:
    def fit(task: Task) -> Predict:
        from factrfm import FactRFMClassifier, FactRFMRegressor

        model = (FactRFMRegressor if task.classes is None else FactRFMClassifier)(**options)
        return model.fit(task.X, task.y, validation=(task.X_val, task.y_val)).predict

    return fit


def _xrfm(task: Task) -> Predict:
    from xrfm import xRFM

    mean, scale = task.X.mean(0), task.X.std(0)
    scale[scale == 0] = 1.0

    def tensor(X: np.ndarray) -> torch.Tensor:
        return torch.tensor((X - mean) / scale, dtype=torch.float32)

    centre, spread = (task.y.mean(), task.y.std()) if task.classes is None else (0.0, 1.0)

    def target(y: np.ndarray) -> torch.Tensor:
        if task.classes is not None:
            return torch.tensor(y)
        return torch.tensor((y - centre) / spread, dtype=torch.float32)[:, None]

    with contextlib.redirect_stderr(io.StringIO()):
        model = xRFM(device="cpu", random_state=0)
        model.fit(tensor(task.X), target(task.y), tensor(task.X_val), target(task.y_val))

    def predict(X: np.ndarray) -> np.ndarray:
        answers = np.asarray(model.predict(tensor(X))).ravel()
        return answers.astype(np.int64) if task.classes is not None else answers * spread + centre

    return predict


def _lightgbm(task: Task) -> Predict:
    import lightgbm

    kind = lightgbm.LGBMRegressor if task.classes is None else lightgbm.LGBMClassifier
    model = kind(n_estimators=ROUNDS, n_jobs=torch.get_num_threads(), verbose=-1)
    stopping = lightgbm.early_stopping(PATIENCE, verbose=False)
    return model.fit(task.X, task.y, eval_set=[(task.X_val, task.y_val)], callbacks=[stopping]).predict


def _xgboost(task: Task) -> Predict:
    import xgboost

    kind = xgboost.XGBRegressor if task.classes is None else xgboost.XGBClassifier
    model = kind(n_estimators=ROUNDS, n_jobs=torch.get_num_threads(), early_stopping_rounds=PATIENCE)
    return model.fit(task.X, task.y, eval_set=[(task.X_val, task.y_val)], verbose=False).predict


def _catboost(task: Task) -> Predict:
    import catboost

    kind = catboost.CatBoostRegressor if task.classes is None else catboost.CatBoostClassifier
    model = kind(
        iterations=1000,
        thread_count=torch.get_num_threads(),
        early_stopping_rounds=PATIENCE,
        verbose=False,
        allow_writing_files=False,
        random_seed=0,
    )
    model.fit(task.X, task.y, eval_set=(task.X_val, task.y_val))
    return lambda X: np.asarray(model.predict(X)).ravel()


def _histogram(task: Task) -> Predict:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if task.classes is None else HistGradientBoostingClassifier
    model = kind(max_iter=ROUNDS, early_stopping=True, n_iter_no_change=PATIENCE, random_state=0)
    return model.fit(task.X, task.y, X_val=task.X_val, y_val=task.y_val).predict


def _linear(task: Task) -> Predict:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = []
    for strength in (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0):
        last = Ridge(alpha=strength) if task.classes is None else LogisticRegression(C=1 / strength, max_iter=2000)
        model = make_pipeline(StandardScaler(), last).fit(task.X, task.y)
        found.append((-model.score(task.X_val, task.y_val), strength, model))
    return min(found, key=lambda one: one[:2])[2].predict


METHODS: dict[str, Callable[[Task], Predict]] = {
    "fact-rfm": _ours(),
    "xRFM": _xrfm,
    "LightGBM": _lightgbm,
    "XGBoost": _xgboost,
    "kernel": _ours(update="none", encoding="plain", exponent=1.0, refit=False),
    "fact-rfm, no refit": _ours(refit=False),
    "CatBoost": _catboost,
    "HistGradientBoosting": _histogram,
    "linear": _linear,
}
