"""What learns from an export: the service, from the file or its cleaned copy, and trees, from pandas' frame."""

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.exports.export import TARGET, Export
from benchmarks.scaling.cluster import Cluster
from benchmarks.tables import PATIENCE, ROUNDS
from worker.tables import media

Found = dict[str, Any]


def as_it_is(service: Cluster, export: Export, threads: int, seed: int) -> Found:
    """Upload both files without any option, and train without any."""
    kind = media.SUFFIXES[f".{export.suffix}"]
    return _served(service, export, kind, (export.train, export.test), export.target)


def cleaned(service: Cluster, export: Export, threads: int, seed: int) -> Found:
    """The same from the cleaned copy, of which rows without a target are dropped."""
    train = export.clean_train[export.clean_train[TARGET].notna()]
    files = [frame.to_parquet(index=False) for frame in (train, export.clean_test)]
    return _served(service, export, media.PARQUET, (files[0], files[1]), TARGET)


def _served(service: Cluster, export: Export, kind: str, files: tuple[bytes, bytes], target: str) -> Found:
    began = time.perf_counter()
    train = _uploaded(service, kind, files[0])
    read = time.perf_counter() - began
    _, fitted = service.run({"kind": "fit", "dataset": train["id"], "target": target, "model": "messy"})
    answers = service.predict("messy", _uploaded(service, kind, files[1])["id"])
    model = service.model("messy")
    left = {entry["column"]: entry["reason"] for entry in model["left_out"]}
    types = {column["name"]: column["type"] for column in train["columns"]}
    return {"error": export.error(list(answers)), "s": read + fitted, "read_s": read, "left_out": left, "types": types}


def _uploaded(service: Cluster, kind: str, file: bytes) -> dict[str, Any]:
    answer = service.client.post("/v1/datasets", content=file, headers={"Content-Type": kind})
    if answer.is_error:
        raise RuntimeError(answer.text)
    dataset: dict[str, Any] = answer.json()
    return dataset


def lightgbm(service: Cluster, export: Export, threads: int, seed: int) -> Found:
    """LightGBM on pandas' reading: texts are categories, a fifth of the rows stops it early."""
    import lightgbm

    def answers(X: pd.DataFrame, y: pd.Series, X_test: pd.DataFrame, judges: np.ndarray) -> np.ndarray:
        for name in X.select_dtypes(object).columns:
            X[name] = X[name].astype("category")
            X_test[name] = pd.Categorical(X_test[name], categories=X[name].cat.categories)
        kind = lightgbm.LGBMClassifier if export.classes else lightgbm.LGBMRegressor
        model = kind(n_estimators=ROUNDS, n_jobs=threads, verbose=-1)
        stopping = lightgbm.early_stopping(PATIENCE, verbose=False)
        model.fit(X[~judges], y[~judges], eval_set=[(X[judges], y[judges])], callbacks=[stopping])
        return model.predict(X_test)

    return _on_plain_reading(export, seed, answers)


def catboost(service: Cluster, export: Export, threads: int, seed: int) -> Found:
    """CatBoost on pandas' reading, with its own categories, a fifth of the rows stops it early."""
    import catboost

    def answers(X: pd.DataFrame, y: pd.Series, X_test: pd.DataFrame, judges: np.ndarray) -> np.ndarray:
        texts = list(X.select_dtypes(object).columns)
        X[texts], X_test[texts] = X[texts].fillna("").astype(str), X_test[texts].fillna("").astype(str)
        kind = catboost.CatBoostClassifier if export.classes else catboost.CatBoostRegressor
        model = kind(
            cat_features=texts,
            thread_count=threads,
            early_stopping_rounds=PATIENCE,
            verbose=False,
            allow_writing_files=False,
        )
        model.fit(X[~judges], y[~judges], eval_set=(X[judges], y[judges]))
        return np.ravel(model.predict(X_test))

    return _on_plain_reading(export, seed, answers)


Answers = Callable[[pd.DataFrame, pd.Series, pd.DataFrame, np.ndarray], np.ndarray]


def _on_plain_reading(export: Export, seed: int, answers: Answers) -> Found:
    began = time.perf_counter()
    frame = _prepared(export.read(export.train), export.target)
    read = time.perf_counter() - began
    X_test = _prepared(export.read(export.test), export.target)
    for name in set(frame.select_dtypes(object)) ^ set(X_test.select_dtypes(object)):
        # a column that one file has as numbers and the other as texts
        frame[name], X_test[name] = frame[name].astype(object), X_test[name].astype(object)
    # the target is given as the cleaned copy has it, for a text cannot be regressed on
    known = export.clean_train[TARGET].notna().to_numpy()
    X, y = frame[known].reset_index(drop=True), export.clean_train[TARGET][known].reset_index(drop=True)
    judges = np.zeros(len(X), dtype=bool)
    judges[np.random.default_rng(seed).permutation(len(X))[: len(X) // 5]] = True
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        found = answers(X, y if export.classes else y.astype(float), X_test, judges)
    return {"error": export.error(list(found)), "s": time.perf_counter() - began, "read_s": read}


def _prepared(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the features as both libraries take them: numbers, or objects; times are numbers of seconds."""
    frame = frame.drop(columns=target)
    frame.columns = [f"x{place}" for place in range(len(frame.columns))]
    for name, column in frame.items():
        if pd.api.types.is_datetime64_any_dtype(column):
            frame[name] = column.astype("int64") / 1e9
        elif not pd.api.types.is_numeric_dtype(column):
            frame[name] = column.astype(object)
    return frame


METHODS = {
    "as it is": as_it_is,
    "cleaned by hand": cleaned,
    "LightGBM, plain reading": lightgbm,
    "CatBoost, plain reading": catboost,
}
