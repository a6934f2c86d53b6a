"""What the estimators have in common: parameters, a fit, files, and the attributes that follow."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from worker.contracts.errors import ArtifactCorrupt, DoesNotFit, InvalidRequest, UnknownCategories, UnreadableTable
from worker.contracts.resources import ModelColumn
from worker.contracts.specs import FitSpec
from worker.contracts.validation import validation_chose
from worker.engine import summary
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError
from worker.estimators.following import Callback, Followed, Progress, follow, full_matrix
from worker.estimators.inputs import array_table, by_position, check_dense, check_times, typed_frame
from worker.estimators.parameters import check_device, check_following, seed_of, spec_of
from worker.estimators.weights import CodedRows, sample_weights
from worker.serving.model import Answer, ServedModel, load
from worker.store.files.safetensors_io import pack
from worker.tables.encoding import splits
from worker.tables.frames import frame_table, is_frame
from worker.tables.rows.matching import match_columns
from worker.training.frame_types import read_types
from worker.training.machine import Machine
from worker.training.model_selection import Choice, choose, run_summaries
from worker.training.pipeline import LastSolve, chosen_by, last_solve, model_of, recurse, solver_for
from worker.training.rows import TrainingRows, encoded_rows, row_weights

Rows = tuple[Any, Any] | tuple[Any, Any, Any]
MIN_ROWS = 3
"""With fewer rows none is held out."""


class FactRFM(BaseEstimator):  # type: ignore[misc]
    """Base class of the two estimators."""

    def __init__(
        self,
        *,
        update: str = "fact",
        geometric_average: bool = False,
        agop_power: float | None = None,
        center_gradients: bool = False,
        kernel: str = "generalized",
        bandwidth: float | Literal["median"] = "median",
        bandwidth_factor: float = 3.0,
        exponent: float | Literal["auto"] | None = None,
        ridge: float | Literal["auto"] = "auto",
        iterations: int = 5,
        feature_matrix: str = "auto",
        encoding: str = "auto",
        scale: str = "trace",
        solver: str = "auto",
        precision: str = "auto",
        standardize: bool = True,
        normalize_rows: bool = False,
        patience: int | None = None,
        refit: bool = True,
        seed: int = 0,
        validation_fraction: float | None = 0.2,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[Callback] | None = None,
        keep_feature_matrices: bool = True,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self.update = update
        self.geometric_average = geometric_average
        self.agop_power = agop_power
        self.center_gradients = center_gradients
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.bandwidth_factor = bandwidth_factor
        self.exponent = exponent
        self.ridge = ridge
        self.iterations = iterations
        self.feature_matrix = feature_matrix
        self.encoding = encoding
        self.scale = scale
        self.solver = solver
        self.precision = precision
        self.standardize = standardize
        self.normalize_rows = normalize_rows
        self.patience = patience
        self.refit = refit
        self.seed = seed
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.keep_feature_matrices = keep_feature_matrices
        self.columns = columns

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation: Rows | None = None) -> Self:
        """Train on X (n, columns), an array or a DataFrame, and y.

        ``sample_weight`` (n,), at least 0: a whole number counts as so many copies of the row, 0 as none; solver 'cg'
        takes none. ``validation`` (X, y) or (X, y, sample_weight) selects the iteration instead of the share
        ``validation_fraction`` of the rows; with ``refit`` these rows join the last solve too.

        Raises:
            ValueError: naming the parameter or the input, its value and what would be right.
        """
        spec = self._spec()
        table, self._columns = self._table(X, fitting=True)
        self._names = frame_table(X).column_names if is_frame(X) else [f"x{k}" for k in range(self.n_features_in_)]
        Y, classes = self._targets(y)
        if table.num_rows != len(Y):
            raise ValueError(f"X has {table.num_rows} rows and y has {len(Y)}")
        rows, classes = self._weighed(CodedRows(table, Y, sample_weights(sample_weight, Y)), classes)
        if len(rows) < 2:
            raise ValueError(f"a fit needs at least 2 rows, not {len(rows)} (n_samples = {len(rows)})")
        training, held_out = self._split(spec, rows, classes, validation)
        try:
            with Progress(int(self.verbose), spec.iterations) as progress:
                self._train(spec, classes, training, held_out, progress)
        except (EngineError, InvalidRequest, DoesNotFit) as error:
            raise ValueError(str(error)) from error
        return self

    def _train(
        self,
        spec: FitSpec,
        classes: list[Any] | None,
        training: CodedRows,
        held_out: CodedRows | None,
        progress: Progress,
    ) -> None:
        """Choose what the spec leaves open, run the recursion and set all fitted attributes."""
        weights = row_weights(training.weights, None if held_out is None else held_out.weights, len(training))
        validating = None if held_out is None else (held_out.table, held_out.Y)

        def load(candidate: FitSpec) -> TrainingRows:
            own = training.table, training.Y
            return encoded_rows(candidate, self._columns, classes, own, validating, weights=weights)

        machine = Machine(torch.device(self.device), memory_bytes=None)
        choice = choose(spec, load, device=machine.device, ended=progress.run)
        refits = self.refit and held_out is not None
        solver, self.solver_reason_ = solver_for(choice, self.solver, machine, refits=refits)
        options = choice.spec.model_copy(update={"solver": solver}).engine_options()
        config = FitConfig(**options, raise_ridge=self.ridge == "auto")
        states = recurse(choice.rows, config, machine)
        followed = follow(states, progress, self.callbacks or (), keep=self.keep_feature_matrices)
        solved = last_solve(choice.rows, config, followed.last.best, machine, refits=refits)
        if solved.refused is not None:
            warnings.warn(f"the validation rows could not join the last solve: {solved.refused}", stacklevel=3)
        outputs = [ModelColumn(name=f"y{index}", type="numeric") for index in range(choice.rows.targets.n_outputs)]
        targets = outputs if classes is None else [ModelColumn(name="y", type="categorical")]
        self._set_fit_attributes(choice, followed, solved)
        self._set_model_attributes(model_of(choice.rows, solved, config, self._columns, targets))
        request = {"kind": "fit", "validation": held_out, "spec": spec.resolved().model_dump()}
        self.validation_chose_ = validation_chose(request)

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a safetensors file, in the format of the service's export."""
        check_is_fitted(self, "model_")
        Path(path).write_bytes(pack(*self.model_.to_tensors()))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return an estimator that predicts with the model of a file; its parameters are the defaults."""
        try:
            model = load(path)
        except ArtifactCorrupt as error:
            raise ValueError(f"{path} is no model that an estimator or the service wrote: {error}") from error
        if (model.classes is None) != issubclass(cls, RegressorMixin):
            raise ValueError(f"{path} holds a {model.task}, which is not for {cls.__name__}")
        estimator = cls()
        estimator._set_model_attributes(model)
        # named columns match by name, others by position
        estimator._fitted_on_frame = True
        estimator.feature_names_in_ = np.array([column.name for column in model.features], dtype=object)
        return estimator

    def _spec(self) -> FitSpec:
        options = {name: getattr(self, name) for name in FitSpec.model_fields if name != "blocks"}
        options["seed"] = seed_of(self.random_state, self.seed)
        fraction = self.validation_fraction
        if fraction is not None and not (isinstance(fraction, int | float) and 0 < fraction < 1):
            raise ValueError(f"validation_fraction must be None or lie in (0, 1), not {self.validation_fraction!r}")
        check_device(self.device)
        check_following(self.verbose, self.callbacks)
        return spec_of(options)

    def _table(self, X: Any, *, fitting: bool) -> tuple[pa.Table, list[ModelColumn]]:
        """Return the columns, and as a model reads them; an array has only numbers."""
        check_dense(X, "X")
        if fitting:
            self._fitted_on_frame = is_frame(X)
        elif is_frame(X) != self._fitted_on_frame:
            # as everywhere in scikit-learn, unnamed columns match by position
            X = by_position(X, self._names if self._fitted_on_frame else None)
        if is_frame(X):
            table = frame_table(X)
            validate_data(self, X, reset=fitting, skip_check_array=True)
            if table.num_columns == 0 or table.num_rows == 0:
                raise ValueError(f"X needs at least one row and one column, not the shape {table.shape}")
            try:
                check_times(table)
                if fitting:
                    return read_types(table, *typed_frame(table), self.columns or {})
                return match_columns(table, self._columns), self._columns
            except (InvalidRequest, UnreadableTable) as error:
                raise ValueError(f"X: {error.detail}") from error
        with np.errstate(invalid="ignore"):
            # scikit-learn sums huge numbers, which overflows; the encoder reports their column
            X = validate_data(
                self, X, reset=fitting, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=1
            )
        table, columns = array_table(X)
        if fitting:
            return read_types(table, table, columns, self.columns or {})
        return (match_columns(table, self._columns), self._columns) if self.columns else (table, columns)

    def _split(
        self, spec: FitSpec, rows: CodedRows, classes: list[Any] | None, validation: Rows | None
    ) -> tuple[CodedRows, CodedRows | None]:
        if validation is not None:
            return rows, self._held_out(rows, classes, validation)
        if self.validation_fraction is None or len(rows) < MIN_ROWS:
            return rows, None
        codes = None if classes is None else rows.Y
        fitted, held = splits.holdout(len(rows), self.validation_fraction, spec.seed, codes)
        return rows.take(fitted), rows.take(held)

    def _held_out(self, rows: CodedRows, classes: list[Any] | None, validation: Rows) -> CodedRows:
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise ValueError(f"validation must be a pair of X and y, not {type(validation).__name__}")
        table, _ = self._table(validation[0], fitting=False)
        Y = self._codes(validation[1], classes)
        if len(Y) != table.num_rows:
            raise ValueError(f"X of the validation rows has {table.num_rows} rows and y has {len(Y)}")
        if Y.shape[1:] != rows.Y.shape[1:]:
            raise ValueError(f"y of the validation rows has the shape {Y.shape}, and y has {rows.Y.shape}")
        weights = sample_weights(validation[2] if len(validation) == 3 else None, Y)
        return self._times_class_weights(CodedRows(table, Y, weights)).weighing

    def _weighed(self, rows: CodedRows, classes: list[Any] | None) -> tuple[CodedRows, list[Any] | None]:
        """Return the rows that take part, with their classes."""
        return rows.weighing, classes

    def _times_class_weights(self, rows: CodedRows) -> CodedRows:
        return rows

    def _set_fit_attributes(self, choice: Choice, followed: Followed, solved: LastSolve) -> None:
        """Set the fitted attributes that are not part of the model."""
        best = solved.best
        self.refitted_ = solved.refitted
        self.spec_ = choice.spec.model_dump()
        self.choices_ = [run.model_dump() for run in run_summaries(choice.runs)]
        self.history_ = followed.history
        self._matrices = followed.matrices
        self.best_iteration_ = best.iteration
        self.chosen_by_ = chosen_by(choice.rows, best)
        self.n_iter_ = len(followed.history)

    def _set_model_attributes(self, model: ServedModel) -> None:
        """Set the fitted attributes that follow from the model."""
        self.model_ = model
        self._columns = list(model.features)
        self.n_features_in_ = getattr(self, "n_features_in_", len(model.features))
        M = model.fitted.M
        self.feature_matrix_ = full_matrix(M)
        self.encoded_feature_names_ = list(model.encoder.names)
        self.features_learned_ = not summary.is_identity(M)
        names = [column.name for column in model.features] if self.columns is None else self._names
        self._names, place = names, {name: index for index, name in enumerate(names)}
        self._importances = np.zeros(len(place))
        for source, share in zip(model.encoder.sources, model.fitted.importance().cpu().tolist(), strict=True):
            self._importances[place[source]] += share

    @property
    def feature_matrices_(self) -> np.ndarray:
        """Feature matrix of every iteration, (n_iter_, d, d) float64, in the order of ``history_``.

        AttributeError: they were not kept, as in an estimator that was loaded from a file.
        """
        check_is_fitted(self, "model_")
        matrices = getattr(self, "_matrices", None)
        if matrices is None:
            raise AttributeError("the matrices of the iterations were not kept; fit with keep_feature_matrices=True")
        return np.stack([full_matrix(M) for M in matrices])

    @property
    def feature_importances_(self) -> np.ndarray:
        """Share of each column in the mean squared distance under M between two training rows; they sum to 1."""
        check_is_fitted(self, "model_")
        if not self.features_learned_:
            warnings.warn(
                "the model learned nothing of its features: feature_matrix_ is the identity, with which every fit "
                "begins, and feature_importances_ only tell how much each column varies",
                stacklevel=2,
            )
        return self._importances

    def _answer(self, X: Any, *, stacklevel: int = 2) -> Answer:
        """Return what the model says of X. ``stacklevel``: as of a warning here, that of the user's call."""
        table = self._rows_to_answer(X, stacklevel + 1)
        return self.model_.predict(table)

    def _scores(self, X: Any) -> np.ndarray:
        table = self._rows_to_answer(X, 3)
        return self.model_.scores(table)

    def _rows_to_answer(self, X: Any, stacklevel: int) -> pa.Table:
        check_is_fitted(self, "model_")
        table, _ = self._table(X, fitting=False)
        if unknown := self.model_.unknown_categories(table):
            warnings.warn(UnknownCategories.of(unknown), stacklevel=stacklevel + 1)
        return table

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _targets(self, y: Any) -> tuple[np.ndarray, list[Any] | None]:
        raise NotImplementedError

    def _codes(self, y: Any, classes: list[Any] | None) -> np.ndarray:
        raise NotImplementedError
