"""What a fit by blocks knows between two rounds, as one file."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.base import Label
from worker.contracts.events import IterationData
from worker.contracts.parts import LeafDone
from worker.contracts.resources import HeatSummary, IterationSummary
from worker.contracts.specs import FitSpec
from worker.engine import summary
from worker.engine.blocks.blend import Blend
from worker.engine.blocks.tree import Tree
from worker.engine.config import FitConfig
from worker.engine.targets import RegressionTargets, Targets, targets_from_tensors, targets_to_tensors
from worker.runs.iterations import TOP_FEATURES
from worker.store.files.safetensors_io import pack, unpack
from worker.tables.encoding.encoder import Encoder


@dataclass
class BlocksState:
    """What the job knows between two rounds.

    ``rows``: how many train, and how many are held out to join them in the end; ``dropped``: how many of the dataset,
    and of the validation dataset, have no target. ``matrices``: M of iteration 0, 1, …;
    ``ridges``: what the next blocks try; ``columns``: see ``save_matrix``; ``validation``: the file of rows that choose
    M, None where rows left out do, and ``blending``: of those that choose the blend; ``chosen``: the ridge of every
    block at every iteration; ``machines``: the files of the blocks' machines at the best M, None before they are
    planned; ``tree`` once the leaves are; ``leaves``: what they gave, ``blend`` and ``metrics`` once they are blended.
    """

    spec: FitSpec
    runs: list[HeatSummary]
    encoder: Encoder
    classes: list[Label] | None
    rows: tuple[int, int]
    targets: Targets
    columns: dict[str, list[Any]]
    ridges: tuple[float, ...]
    matrices: list[Tensor]
    validation: ArtifactRef | None = None
    blending: ArtifactRef | None = None
    losses: list[tuple[float, ...]] = field(default_factory=list)
    history: list[IterationSummary] = field(default_factory=list)
    chosen: list[list[float]] = field(default_factory=list)
    machines: list[ArtifactRef] | None = None
    tree: Tree | None = None
    leaves: list[LeafDone] = field(default_factory=list)
    blend: Blend | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    dropped: tuple[int, int] = (0, 0)

    @property
    def config(self) -> FitConfig:
        """The config of the spec, with all ridges."""
        return FitConfig(**self.spec.engine_options(), raise_ridge=self.spec.ridge == "auto")

    @property
    def refits(self) -> bool:
        """Whether rows that are held out join the others in the end."""
        return self.spec.refit and self.rows[1] > 0

    @property
    def best(self) -> int:
        """The iteration with the least loss, the first of equal ones."""
        return min(range(len(self.losses)), key=lambda iteration: self.losses[iteration])

    @property
    def judges(self) -> Literal["validation", "leave_one_out"]:
        """Which rows choose."""
        return "leave_one_out" if self.validation is None else "validation"

    def record(self, ridge: float, bandwidth: float | None, seconds: float, *, stored: bool) -> IterationData:
        """Add the last iteration to the history, and return what followers see. ``stored``: its M is kept."""
        iteration = len(self.losses) - 1
        M, metrics = self.matrices[iteration], _metrics(self.judges, self.losses[-1], self.targets)
        if self.history:
            cosine = summary.cosine(self.matrices[iteration - 1], M)
            self.history[-1] = self.history[-1].model_copy(update={"cosine_to_next": cosine})
        eigenvalues = summary.eigenvalues(M)
        rank, trace = summary.effective_rank(eigenvalues), float(eigenvalues.sum())
        self.history.append(
            IterationSummary(
                iteration=iteration,
                metrics=metrics,
                ridge=ridge,
                bandwidth=bandwidth,
                seconds=seconds,
                trace=trace,
                effective_rank=rank,
                matrix=stored,
            )
        )
        variances = torch.tensor(self.columns["variances"], dtype=torch.float64)
        leading = summary.leading(M, variances, TOP_FEATURES)
        return IterationData(
            iteration=iteration,
            iterations=self.spec.iterations,
            metrics=metrics,
            ridge=ridge,
            bandwidth=bandwidth,
            trace=trace,
            effective_rank=rank,
            top=[self.columns["names"][index] for index in leading],
            seconds=seconds,
        )

    def packed(self) -> bytes:
        tensors, metadata = targets_to_tensors(self.targets)
        tensors |= {f"M_{iteration:04d}": M for iteration, M in enumerate(self.matrices)}
        if self.tree is not None:
            tensors |= {f"tree_{name}": tensor for name, tensor in self.tree.to_tensors().items()}
        metadata |= {
            "spec": self.spec.model_dump(mode="json"),
            "runs": [run.model_dump(mode="json") for run in self.runs],
            "columns": self.columns,
            "ridges": list(self.ridges),
            "encoder": self.encoder.to_json(),
            "classes": self.classes,
            "rows": self.rows,
            "validation": None if self.validation is None else self.validation.model_dump(),
            "blending": None if self.blending is None else self.blending.model_dump(),
            "losses": self.losses,
            "chosen": self.chosen,
            "machines": None if self.machines is None else [ref.model_dump() for ref in self.machines],
            "history": [iteration.model_dump(mode="json") for iteration in self.history],
            "leaves": [leaf.model_dump(mode="json") for leaf in self.leaves],
            "blend": None if self.blend is None else asdict(self.blend),
            "metrics": self.metrics,
            "dropped": self.dropped,
        }
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()} | self.encoder.to_arrays()
        return pack(arrays, metadata)

    @classmethod
    def of(cls, content: bytes) -> "BlocksState":
        arrays, metadata = unpack(content)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        tree = {name.removeprefix("tree_"): tensor for name, tensor in tensors.items() if name.startswith("tree_")}
        machines, blend = metadata["machines"], metadata["blend"]
        return cls(
            spec=FitSpec.model_validate(metadata["spec"]),
            runs=[HeatSummary.model_validate(run) for run in metadata["runs"]],
            encoder=Encoder.from_json(metadata["encoder"], arrays),
            classes=metadata["classes"],
            rows=tuple(metadata["rows"]),
            targets=targets_from_tensors(tensors, metadata, centred="class_frequencies" in tensors),
            columns=metadata["columns"],
            ridges=tuple(metadata["ridges"]),
            matrices=[tensors[name] for name in sorted(tensors) if name.startswith("M_")],
            validation=_ref(metadata["validation"]),
            blending=_ref(metadata["blending"]),
            losses=[tuple(loss) for loss in metadata["losses"]],
            history=[IterationSummary.model_validate(iteration) for iteration in metadata["history"]],
            chosen=metadata["chosen"],
            machines=None if machines is None else [ArtifactRef.model_validate(ref) for ref in machines],
            tree=Tree.from_tensors(tree) if tree else None,
            leaves=[LeafDone.model_validate(leaf) for leaf in metadata["leaves"]],
            blend=None if blend is None else Blend(blend["temperature"], blend["share"]),
            metrics=metadata["metrics"],
            # states of before have none
            dropped=tuple(metadata.get("dropped", (0, 0))),
        )


def _ref(stored: Any) -> ArtifactRef | None:
    return None if stored is None else ArtifactRef.model_validate(stored)


def _metrics(judges: str, loss: tuple[float, ...], targets: Targets) -> dict[str, float]:
    """Return what the mean loss of blocks says: the Brier score, or R² and, of one output, RMSE in its units."""
    if not isinstance(targets, RegressionTargets):
        return {f"{judges}_brier": loss[0]}
    figures = {f"{judges}_r2": 1 - loss[0]}
    if targets.n_outputs == 1:
        figures[f"{judges}_rmse"] = math.sqrt(loss[0]) * float(targets.scale[0])
    return figures
