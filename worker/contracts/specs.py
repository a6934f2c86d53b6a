"""What a caller may ask for: the training spec and the bodies of jobs and batches."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from worker.contracts.base import ColumnType, Contract, Task

__all__ = ["BatchGrid", "ColumnType", "FitRequest", "FitSpec", "JobRequest", "PredictRequest", "Task", "Validation"]

DATASET_ID = r"^ds_[0-9a-z]{20,40}$"
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MODEL_REF = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(@[1-9][0-9]{0,8})?$"

DatasetId = Annotated[str, Field(pattern=DATASET_ID, examples=["ds_01jd0000000000000000000000"])]
ColumnName = Annotated[str, Field(min_length=1, max_length=1000)]

GENERALIZED_EXPONENT = 1.3


class FitSpec(Contract):
    """How to train. Every field is optional; the answer to a job shows what each was resolved to."""

    update: Literal["fact", "nfa", "none"] = Field(
        "fact",
        description="How the feature matrix M is re-learned after each solve: fact = (FACT FACTᵀ)^½; "
        "nfa = AGOP^agop_power, the recursive feature machine; none = plain kernel ridge regression.",
    )
    geometric_average: bool = Field(
        False, description="fact only: M ← (F M² Fᵀ)^¼ with F = FACT; steadier, about half the pace."
    )
    agop_power: float | None = Field(
        None, gt=0, le=2, description="nfa only: the power s of AGOP. Null means 1; ½ is used for modular arithmetic."
    )
    center_gradients: bool = Field(False, description="nfa only: subtract the mean gradient before AGOP.")
    kernel: Literal["laplace", "gaussian", "generalized", "quadratic", "exponential"] = Field(
        "generalized",
        description="r is the distance under M, t the inner product, L the bandwidth, q the exponent: "
        "laplace exp(−r/L); gaussian exp(−r²/2L²); generalized exp(−(r/L)^q); quadratic t²; exponential exp(t/L²).",
    )
    bandwidth: Annotated[float, Field(gt=0, le=1e9)] | Literal["median"] = Field(
        "median",
        description="The kernel's length in units of distance under M. 'median' takes bandwidth_factor times "
        "the median distance between training rows, again at every iteration.",
    )
    bandwidth_factor: float = Field(3.0, gt=0, le=1e6, description="Multiple of the median when bandwidth is 'median'.")
    exponent: float | None = Field(
        None, gt=0, le=2, description=f"generalized only: q in (0, 2]. Null means {GENERALIZED_EXPONENT}."
    )
    ridge: Annotated[float, Field(ge=0, le=1e9)] | Literal["auto"] = Field(
        "auto",
        description="Added to the kernel matrix's diagonal as it is. 'auto' tries 0.001, 0.01, 0.1, 1 and 10 at every "
        "iteration and keeps the best on validation rows, or by the leave-one-out error where there are none.",
    )
    iterations: int = Field(5, ge=0, le=1000, description="Updates of M. 0 is the plain kernel machine.")
    feature_matrix: Literal["full", "diagonal"] = Field("full", description="M as a whole matrix or its diagonal only.")
    scale: Literal["trace", "max", "none"] = Field(
        "trace", description="After each update M is rescaled: trace d, largest entry 1, or not at all."
    )
    solver: Literal["auto", "cholesky"] = Field("auto", description="How the ridge system is solved.")
    precision: Literal["auto", "float32", "float64"] = Field(
        "auto", description="auto: float32 for radial kernels with ridge ≥ 0.001, else float64."
    )
    standardize: bool = Field(
        True, description="Numeric and boolean columns to mean 0 and deviation 1 (training rows)."
    )
    normalize_rows: bool = Field(False, description="Each encoded row to Euclidean length 1.")
    patience: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Stop after this many iterations without a better validation loss. Null: never.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the validation split and of any sampling.")

    @model_validator(mode="after")
    def _options_belong_together(self) -> Self:
        if self.geometric_average and self.update != "fact":
            raise ValueError(f"geometric_average is for update 'fact', not {self.update!r}")
        if self.update != "nfa" and (self.agop_power is not None or self.center_gradients):
            raise ValueError(f"agop_power and center_gradients are for update 'nfa', not {self.update!r}")
        if self.exponent is not None and self.kernel != "generalized":
            raise ValueError(f"exponent is for kernel 'generalized', not {self.kernel!r}")
        return self

    def resolved(self) -> "FitSpec":
        """Return the same spec with every null that means a number replaced by the number."""
        return self.model_copy(
            update={
                "agop_power": 1.0 if self.update == "nfa" and self.agop_power is None else self.agop_power,
                "exponent": GENERALIZED_EXPONENT
                if self.kernel == "generalized" and self.exponent is None
                else self.exponent,
                "solver": "cholesky",
            }
        )

    def engine_options(self) -> dict[str, Any]:
        """Return the keyword arguments of ``worker.engine.recursion.FitConfig``."""
        return self.resolved().model_dump(exclude={"standardize", "normalize_rows"})


class Validation(Contract):
    """Which rows choose the iteration (and the ridge): exactly one of the three ways."""

    fraction: float | None = Field(None, gt=0, lt=1, description="Share of the rows held out, by the spec's seed.")
    dataset: DatasetId | None = Field(None, description="Another dataset with the same columns.")
    folds: int | None = Field(
        None, ge=2, le=20, description="Cross-validation chooses; the model is then fitted on all rows."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(value is not None for value in (self.fraction, self.dataset, self.folds)) != 1:
            raise ValueError("give exactly one of fraction, dataset and folds")
        return self


class FitRequest(Contract):
    """Train a model on a dataset."""

    kind: Literal["fit"] = "fit"
    dataset: DatasetId
    target: ColumnName | Annotated[list[ColumnName], Field(min_length=1, max_length=1000)] = Field(
        description="The column to learn, or several for a regression with several outputs."
    )
    features: Annotated[list[ColumnName], Field(min_length=1)] | None = Field(
        None, description="Columns to learn from. Null: all but the target."
    )
    exclude: list[ColumnName] = Field(default_factory=list, description="Columns to leave out.")
    task: Literal["auto", "regression", "classification"] = Field(
        "auto",
        description="auto: classification for a categorical or boolean target and for whole numbers "
        "with at most 20 distinct values, else regression.",
    )
    model: Annotated[str, Field(pattern=MODEL_NAME)] | None = Field(
        None, description="The model's name; a further fit under it makes the next version. Null: the job's id."
    )
    validation: Validation | None = Field(
        default_factory=lambda: Validation(fraction=0.2), description="Null: all rows train, all iterations run."
    )
    spec: FitSpec = Field(default_factory=FitSpec)

    @property
    def targets(self) -> list[str]:
        """The target columns as a list."""
        return [self.target] if isinstance(self.target, str) else list(self.target)


class PredictRequest(Contract):
    """Predict every row of a stored dataset into a file to download."""

    kind: Literal["predict"] = "predict"
    model: Annotated[str, Field(pattern=MODEL_REF)] = Field(description="mdl_…, name or name@version.")
    dataset: DatasetId
    format: Literal["parquet", "csv", "arrow"] = "parquet"


JobRequest = Annotated[FitRequest | PredictRequest, Field(discriminator="kind")]


class BatchGrid(Contract):
    """One base body and the values that vary: every combination is a job."""

    base: dict[str, Any]
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1, description="Dotted path into the body → values, e.g. {'spec.ridge': [0.1, 1]}."
    )
