"""Many kernel machines with one M: the mean of some blocks, and what a tree of leaves adds to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from worker.engine import summary
from worker.engine.blocks.answers import Answers, mean_outputs
from worker.engine.blocks.machines import Leaf, Machine
from worker.engine.blocks.tree import Tree, weights
from worker.engine.errors import DamagedFile
from worker.engine.model import FittedModel, Model
from worker.engine.targets import Targets

BLOCKS = "blocks"
"""The name of the format."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class BlocksModel(Model):
    """f(x) = share · mean over blocks bₖ(x) + Σ over leaves wⱼ(x) lⱼ(x), of machines with one M, kernel and precision.

    The blocks saw random rows, and their mean is steady where there is noise; a leaf saw all rows of its place, and
    learned what the share of the blocks leaves over there. Without blocks the leaves learned the targets themselves.
    Near a cut the leaves of both sides are blended.

    ``M`` (d, d) or (d,) float64 and ``targets`` are those of all machines. ``temperature``: see ``tree.weights``.
    ``variances`` (d,) float64: of all training rows. ``ridges`` and ``losses``: of the leaves, then of the blocks; what
    they were fitted with, and how they did on rows left out.
    """

    M: Tensor
    targets: Targets
    tree: Tree
    leaves: tuple[FittedModel, ...]
    blocks: tuple[FittedModel, ...]
    share: float
    temperature: float
    variances: Tensor
    ridges: tuple[float, ...]
    losses: tuple[float, ...]

    @classmethod
    def of(
        cls,
        tree: Tree,
        leaves: Sequence[Leaf],
        blocks: Sequence[Machine],
        share: float,
        temperature: float,
        variances: Tensor,
    ) -> Self:
        """Return the model of fitted leaves, in the order of their numbers, and blocks, which may be none.

        Blocks without a share are left out.
        """
        share = share if blocks else 0.0
        machines = [*(leaf.mixed(share) for leaf in leaves), *(blocks if share > 0 else ())]
        # one that float32 could not solve brings float64 to all: they are stored as one tensor
        wide = max((machine.model.alpha.dtype for machine in machines), key=lambda dtype: dtype.itemsize)
        first = machines[0].model
        models = tuple(
            replace(machine.model, X=machine.model.X.to(wide), alpha=machine.model.alpha.to(wide), M=first.M)
            for machine in machines
        )
        return cls(
            first.M,
            first.targets,
            tree,
            models[: len(leaves)],
            models[len(leaves) :],
            share,
            temperature,
            variances,
            tuple(machine.ridge for machine in machines),
            tuple(machine.loss[0] for machine in machines),
        )

    def raw(self, X: Tensor) -> Tensor:
        """Return standardised outputs, or class scores less the classes' frequencies, (m, c) float64.

        A row's answer has the same bits whichever rows are beside it. Memory is one tile of kernel rows of one machine.
        """
        first = self.leaves[0]
        X = X.to(first.X.device, first.X.dtype)
        answering, shares = weights(self.tree, X, self.temperature)
        found = blended(self.leaf_answers, X, answering, shares)
        return self.share * mean_outputs(self.block_answers, X) + found if self.blocks else found

    @cached_property
    def leaf_answers(self) -> tuple[Answers, ...]:
        """The leaves made ready to answer, in their order."""
        return tuple(Answers(leaf) for leaf in self.leaves)

    @cached_property
    def block_answers(self) -> tuple[Answers, ...]:
        """The blocks made ready to answer, in their order."""
        return tuple(Answers(block) for block in self.blocks)

    def importance(self) -> Tensor:
        """Return each column's share of the mean squared distance between training rows, (d,) float64."""
        return summary.importance(self.M, self.variances)

    def to(self, device: torch.device) -> Self:
        """Return the same model on ``device``."""
        leaves = tuple(leaf.to(device) for leaf in self.leaves)
        blocks = tuple(block.to(device) for block in self.blocks)
        return replace(
            self,
            M=leaves[0].M,
            targets=leaves[0].targets,
            tree=self.tree.to(device),
            leaves=leaves,
            blocks=blocks,
            variances=self.variances.to(device),
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return named tensors and JSON-able metadata from which ``from_tensors`` makes the same model.

        ``X`` (p, d) and ``alpha`` (p, c) hold the leaves one after another, then the blocks, number k from
        ``starts[k]`` on.
        """
        shared, machine = self.leaves[0].to_tensors()
        models = [*self.leaves, *self.blocks]
        counts = torch.tensor([0, *(len(model.X) for model in models)])
        tensors = shared | {f"tree_{name}": tensor for name, tensor in self.tree.to_tensors().items()}
        tensors |= {
            "X": torch.cat([model.X for model in models]),
            "alpha": torch.cat([model.alpha for model in models]),
            "starts": counts.cumsum(0),
            "variances": self.variances,
            "ridges": torch.tensor(self.ridges, dtype=torch.float64),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
        }
        bandwidth = machine.pop("bandwidth")
        if bandwidth is not None:
            tensors["bandwidths"] = torch.tensor([model.bandwidth for model in models], dtype=torch.float64)
        metadata = {
            "format": BLOCKS,
            "format_version": FORMAT_VERSION,
            "share": self.share,
            "temperature": self.temperature,
            "machine": machine,
        }
        return tensors, metadata

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Self:
        """Return the model that ``to_tensors`` took apart.

        Raises:
            DamagedFile: the format is of another version, or the tensors do not go together.
        """
        if metadata["format_version"] != FORMAT_VERSION:
            raise DamagedFile(
                f"the model has format version {metadata['format_version']}; this program reads {FORMAT_VERSION}"
            )
        try:
            tree = Tree.from_tensors({name.removeprefix("tree_"): tensors[name] for name in tensors})
        except ValueError as error:
            raise DamagedFile(str(error)) from error
        starts = tensors["starts"].tolist()
        per_machine = [tensors[name] for name in ("ridges", "losses", "bandwidths") if name in tensors]
        d = tensors["X"].shape[-1]
        if (
            any(len(values) != len(starts) - 1 for values in per_machine)
            or len(starts) < tree.leaves + 1
            or [starts[0], *sorted(starts), len(tensors["alpha"])] != [0, *starts, len(tensors["X"])]
            or tree.directions.shape[1] != d
            or len(tensors["variances"]) != d
        ):
            raise DamagedFile("the model's machines do not go together with its tree")
        bandwidths = tensors["bandwidths"].tolist() if "bandwidths" in tensors else [None] * len(starts)
        models = tuple(
            # rounding depends on where rows lie in memory: a part of a tensor lies anywhere, a tensor of its own as the
            # fitted one did
            FittedModel.from_tensors(
                {**tensors, "X": tensors["X"][start:stop].clone(), "alpha": tensors["alpha"][start:stop].clone()},
                {**metadata["machine"], "bandwidth": bandwidth},
            )
            for start, stop, bandwidth in zip(starts, starts[1:], bandwidths, strict=False)
        )
        ridges, losses = tuple(tensors["ridges"].tolist()), tuple(tensors["losses"].tolist())
        leaves, blocks = models[: tree.leaves], models[tree.leaves :]
        return cls(
            leaves[0].M,
            leaves[0].targets,
            tree,
            leaves,
            blocks,
            metadata["share"],
            metadata["temperature"],
            tensors["variances"],
            ridges,
            losses,
        )


def blended(leaves: Sequence[Answers], X: Tensor, answering: Tensor, shares: Tensor) -> Tensor:
    """Return the answers (m, c) float64 to rows X, of leaves ``answering`` (m, k) with weights ``shares`` (m, k)."""
    found = torch.zeros((len(X), leaves[0].model.targets.n_outputs), dtype=torch.float64, device=X.device)
    answers = shares > 0
    for number in sorted(set(answering[answers].tolist())):
        rows, places = torch.nonzero((answering == number) & answers, as_tuple=True)
        found[rows] += shares[rows, places].unsqueeze(1) * leaves[number](X[rows])
    return found
