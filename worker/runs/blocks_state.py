"""What a fit by blocks knows between two rounds, as one file."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from worker.contracts.resources import HeatSummary, IterationSummary
from worker.contracts.specs import FitSpec
from worker.engine.blocks.tree import Tree
from worker.engine.targets import Targets
from worker.runs.block_parts import targets_as_tensors, targets_of
from worker.store.files.safetensors_io import pack, unpack


@dataclass
class BlocksState:
    """What the job knows between two rounds.

    ``matrices``: M of iteration 0, 1, …; ``ridges``: what the next blocks try; ``columns``: see ``save_matrix``;
    ``tree`` once M is learned.
    """

    spec: FitSpec
    runs: list[HeatSummary]
    targets: Targets
    columns: dict[str, list[Any]]
    ridges: tuple[float, ...]
    matrices: list[Tensor]
    losses: list[tuple[float, ...]] = field(default_factory=list)
    history: list[IterationSummary] = field(default_factory=list)
    tree: Tree | None = None

    @property
    def best(self) -> int:
        """The iteration with the least loss, the first of equal ones."""
        return min(range(len(self.losses)), key=lambda iteration: self.losses[iteration])

    def packed(self) -> bytes:
        tensors, metadata = targets_as_tensors(self.targets)
        tensors |= {f"M_{iteration:04d}": M.numpy() for iteration, M in enumerate(self.matrices)}
        if self.tree is not None:
            tensors |= {f"tree_{name}": tensor.numpy() for name, tensor in self.tree.to_tensors().items()}
        metadata |= {
            "spec": self.spec.model_dump(mode="json"),
            "runs": [run.model_dump(mode="json") for run in self.runs],
            "columns": self.columns,
            "ridges": list(self.ridges),
            "losses": self.losses,
            "history": [iteration.model_dump(mode="json") for iteration in self.history],
        }
        return pack(tensors, metadata)

    @classmethod
    def of(cls, content: bytes) -> "BlocksState":
        arrays, metadata = unpack(content)
        tree = {
            name.removeprefix("tree_"): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith("tree_")
        }
        return cls(
            spec=FitSpec.model_validate(metadata["spec"]),
            runs=[HeatSummary.model_validate(run) for run in metadata["runs"]],
            targets=targets_of(arrays, metadata),
            columns=metadata["columns"],
            ridges=tuple(metadata["ridges"]),
            matrices=[torch.from_numpy(arrays[name]) for name in sorted(arrays) if name.startswith("M_")],
            losses=[tuple(loss) for loss in metadata["losses"]],
            history=[IterationSummary.model_validate(iteration) for iteration in metadata["history"]],
            tree=Tree.from_tensors(tree) if tree else None,
        )
