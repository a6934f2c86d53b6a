"""How to train: the spec of a fit and that of a network."""

import math
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from worker.contracts.base import Contract

AUTO_CANDIDATES: dict[str, tuple[Any, ...]] = {
    "encoding": ("plain", "expanded"),
    "feature_matrix": ("full", "diagonal"),
    "exponent": (1.3, 1.0),
    "update": ("fact", "nfa"),
}
"""The values that 'auto' chooses from, by option."""


class Blocks(Contract):
    """How many rows solver 'blocks' takes at a time. Memory of a worker grows with the square of the rows."""

    rows: int = Field(8000, ge=100, le=50_000, description="Rows of a block that M is learned from.")
    learn: int = Field(8, ge=1, le=64, description="Blocks that M is learned from; each is drawn from all rows.")
    leaf: int = Field(4000, ge=100, le=50_000, description="Rows of a leaf of the tree, at most.")
    overlap: float = Field(
        0.1, ge=0, le=0.25, description="Share of the rows of a cut, nearest to it, that train both of its sides."
    )

    def leaves(self, rows: int) -> int:
        """Return about how many leaves a tree over so many rows has: a cut leaves (1 + overlap) / 2 of them a side."""
        cuts = math.log(max(rows / self.leaf, 1.0)) / math.log(2 / (1 + self.overlap))
        return int(2 ** math.ceil(cuts))


class FitSpec(Contract):
    """How to train. Every field is optional; the response to a job shows the resolved values."""

    update: Literal["auto", "fact", "nfa", "none"] = Field(
        "fact",
        description="How the feature matrix M is re-learned after each solve: fact = (FACT FACTᵀ)^½; "
        "nfa = AGOP^agop_power, the recursive feature machine; none = plain kernel ridge regression; "
        "'auto' chooses between fact and nfa.",
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
    bandwidth: Annotated[float, Field(ge=1e-9, le=1e9)] | Literal["median"] = Field(
        "median",
        description="The kernel's length in units of distance under M. 'median' takes bandwidth_factor times "
        "the median distance between training rows, again at every iteration.",
    )
    bandwidth_factor: float = Field(
        3.0, ge=1e-6, le=1e6, description="Multiple of the median when bandwidth is 'median'."
    )
    exponent: Annotated[float, Field(gt=0, le=2)] | Literal["auto"] | None = Field(
        None, description="generalized only: q in (0, 2]. 'auto' chooses between 1 and 1.3. Null means 'auto'."
    )
    ridge: Annotated[float, Field(ge=0, le=1e9)] | Literal["auto"] = Field(
        "auto",
        description="Added to the kernel matrix's diagonal as it is. 'auto' tries 0.001, 0.01, 0.1, 1 and 10 at every "
        "iteration and keeps the best on validation rows, or by the leave-one-out error where there are none; "
        "those that cannot be solved are left out.",
    )
    iterations: int = Field(5, ge=0, le=1000, description="Updates of M. 0 is the plain kernel machine.")
    feature_matrix: Literal["auto", "full", "diagonal"] = Field(
        "auto", description="M as a whole matrix or its diagonal only; 'auto' chooses."
    )
    encoding: Literal["auto", "plain", "expanded", "statistics"] = Field(
        "auto",
        description="plain: each numeric column is one number. expanded: beside it stand its normal score by rank and "
        "how much of each of eight quantile bins lies below it; needs standardize. statistics: expanded, and beside a "
        "categorical column of more than 24 categories stands the mean target of the row's category, for a training "
        "row that of rows in other folds; not for solver 'blocks'. 'auto' chooses.",
    )
    scale: Literal["trace", "max", "none"] = Field(
        "trace", description="After each update M is rescaled: trace d, largest entry 1, or not at all."
    )
    solver: Literal["auto", "cholesky", "cg", "blocks"] = Field(
        "auto",
        description="How ridge systems are solved: cholesky factors the kernel matrix; cg runs conjugate gradients "
        "with a preconditioner and keeps no more of the matrix than memory allows; blocks learns one M from several "
        "blocks of rows and fits the leaves of a tree with it, shared by all workers; 'auto' chooses cholesky or cg by "
        "rows, ridge and memory, and blocks for more rows than a setting says (50,000) or where memory is too small.",
    )
    blocks: Blocks | None = Field(
        None,
        # programs of before do not know it, and read what is stored
        exclude_if=lambda blocks: blocks is None,
        description="Options of solver 'blocks', also where 'auto' takes it. Null: its defaults.",
    )
    precision: Literal["auto", "float32", "float64"] = Field(
        "auto",
        description="auto: float32 for radial kernels with ridge ≥ 0.001, else float64; and float64 "
        "from the iteration on that float32 cannot solve.",
    )
    standardize: bool = Field(
        True, description="Numeric and boolean columns to mean 0 and deviation 1 (training rows)."
    )
    normalize_rows: bool = Field(False, description="Each encoded row to Euclidean length 1.")
    patience: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Stop after this many iterations without a better loss on validation rows, or on rows left out "
        "where there are none. Null: never.",
    )
    refit: bool = Field(
        True, description="Rows held out by a fraction join the others for the last solve, after they have chosen."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the validation split and of any sampling.")

    @model_validator(mode="after")
    def _options_belong_together(self) -> Self:
        if self.encoding in ("expanded", "statistics") and not self.standardize:
            raise ValueError(
                f"encoding {self.encoding!r} needs standardize true: its views of a column share one scale"
            )
        if self.encoding == "statistics" and self.solver == "blocks":
            raise ValueError("encoding 'statistics' is for solvers 'cholesky' and 'cg', not 'blocks'")
        if self.geometric_average and self.update != "fact":
            raise ValueError(f"geometric_average is for update 'fact', not {self.update!r}")
        if self.update != "nfa" and (self.agop_power is not None or self.center_gradients):
            raise ValueError(f"agop_power and center_gradients are for update 'nfa', not {self.update!r}")
        if self.blocks is not None and self.solver not in ("blocks", "auto"):
            raise ValueError(f"the options of blocks are for solvers 'blocks' and 'auto', not {self.solver!r}")
        if self.solver == "cg" and self.ridge == 0:
            raise ValueError("solver 'cg' needs a ridge above 0; use solver 'cholesky'")
        if self.exponent is not None and self.kernel != "generalized":
            raise ValueError(f"exponent is for kernel 'generalized', not {self.kernel!r}")
        return self

    def resolved(self) -> "FitSpec":
        """Return the same spec with every meaningful null replaced by its value."""
        update: dict[str, Any] = {}
        if self.update == "nfa" and self.agop_power is None:
            update["agop_power"] = 1.0
        if self.kernel == "generalized" and self.exponent is None:
            update["exponent"] = "auto"
        if self.encoding == "auto" and not self.standardize:
            update["encoding"] = "plain"
        if self.solver == "blocks" and self.blocks is None:
            update["blocks"] = Blocks()
        if self.iterations == 0 and self.update == "auto":
            update["update"] = "fact"
        if self.feature_matrix == "auto" and (self.update == "none" or self.iterations == 0):
            update["feature_matrix"] = "full"
        return self.model_copy(update=update)

    def candidates(self) -> list["FitSpec"]:
        """Return every combination of values for the options left on 'auto', as resolved specs."""
        spec = self.resolved()
        choices = [
            dict(zip(AUTO_CANDIDATES, values, strict=True))
            for values in product(
                *(
                    AUTO_CANDIDATES[name] if getattr(spec, name) == "auto" else (getattr(spec, name),)
                    for name in AUTO_CANDIDATES
                )
            )
        ]
        return [spec.model_copy(update=choice).resolved() for choice in choices]

    def engine_options(self) -> dict[str, Any]:
        """Return the keyword arguments of ``worker.engine.config.FitConfig`` for the first of the candidates."""
        outside = {"standardize", "normalize_rows", "encoding", "refit", "blocks"}
        options = self.candidates()[0].model_dump(exclude=outside)
        # the systems of blocks and leaves are factored
        return {**options, "solver": "cg" if self.solver == "cg" else "cholesky"}


MAX_REPORTS = 1000


class NetworkSpec(Contract):
    """A multilayer perceptron and how to train it: all rows in every step, weight decay on every matrix."""

    hidden: Annotated[list[Annotated[int, Field(ge=1, le=8192)]], Field(min_length=1, max_length=16)] = Field(
        default=[256, 256, 256], description="Width of each hidden layer."
    )
    activation: Literal["relu", "quadratic", "tanh", "gelu", "linear"] = Field(
        "relu", description="What each hidden unit makes of its sum; quadratic: its square."
    )
    bias: bool = Field(True, description="A bias beside each weight matrix. Biases do not decay.")
    loss: Literal["squared", "cross_entropy"] = Field(
        "squared",
        description="squared: the mean squared error of standardised targets, of classes of their one-hot columns; "
        "cross_entropy: classification only.",
    )
    weight_decay: float = Field(5e-3, gt=0, le=1e3, description="λ of the objective, mean loss + (λ/2) Σ‖W‖².")
    learning_rate: float = Field(0.1, gt=0, le=1e3, description="Length of a step, in gradients.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of the last step that the next one keeps.")
    max_gradient_norm: float | None = Field(
        1.0,
        gt=0,
        le=1e6,
        description="A longer gradient is shortened to this length, which keeps steep beginnings from blowing up and "
        "moves no critical point; null for no bound.",
    )
    steps: int = Field(3000, ge=1, le=1_000_000, description="Steps of gradient descent.")
    cooldown: float = Field(
        0.5, ge=0, le=1, description="Over this last share of the steps the learning rate falls to 0."
    )
    report_every: int = Field(100, ge=1, description=f"Steps between two reports; at most {MAX_REPORTS} reports.")
    encoding: Literal["plain", "expanded"] = Field("plain", description="As in the spec of a fit.")
    standardize: bool = Field(
        True, description="Numeric and boolean columns to mean 0 and deviation 1 (training rows)."
    )
    normalize_rows: bool = Field(False, description="Each encoded row to Euclidean length 1.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the validation split and of the first weights.")

    @model_validator(mode="after")
    def _options_belong_together(self) -> Self:
        if self.encoding == "expanded" and not self.standardize:
            raise ValueError("encoding 'expanded' needs standardize true: its views of a column share one scale")
        return self

    @model_validator(mode="after")
    def _not_too_many_reports(self) -> Self:
        if self.steps > MAX_REPORTS * self.report_every:
            least = -(-self.steps // MAX_REPORTS)
            raise ValueError(f"{self.steps} steps need report_every of at least {least}, not {self.report_every}")
        return self

    def engine_options(self) -> dict[str, Any]:
        """Return the keyword arguments of ``worker.engine.network.NetworkConfig``."""
        options = self.model_dump(exclude={"standardize", "normalize_rows", "encoding"})
        return {**options, "hidden": tuple(self.hidden)}
