"""Many kernel machines with one M: the mean of some blocks, and what a tree of leaves adds to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Self

import torch
from torch import Tensor

from worker.engine import summary
from worker.engine.blocks.answers import MachineList, mean_outputs
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
    leaves: MachineList
    blocks: MachineList
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
            MachineList(models[: len(leaves)]),
            MachineList(models[len(leaves) :]),
            share,
            temperature,
            variances,
            tuple(machine.ridge for machine in machines),
            tuple(machine.loss[0] for machine in machines),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors in memory, and of the machines that are there."""
        tensors = (self.M, self.variances, *self.tree.to_tensors().values())
        return sum(tensor.nbytes for tensor in tensors) + self.leaves.nbytes + self.blocks.nbytes

    def raw(self, X: Tensor) -> Tensor:
        """Return standardised outputs, or class scores less the classes' frequencies, (m, c) float64.

        A row's answer has the same bits whichever rows are beside it. Memory is one tile of kernel rows of one machine,
        and the machines that are asked.
        """
        X = X.to(self.M.device, self.leaves.dtype)
        answering, shares = weights(self.tree, X, self.temperature)
        found = blended(self.leaves, self.targets.n_outputs, X, answering, shares)
        if not len(self.blocks):
            return found
        answers = (self.blocks.answers(number) for number in range(len(self.blocks)))
        return self.share * mean_outputs(answers, X) + found

    @property
    def leaf_rows(self) -> tuple[int, ...]:
        """How many rows the machine of each leaf has, in their order."""
        return self.leaves.rows

    def importance(self) -> Tensor:
        """Return each column's share of the mean squared distance between training rows, (d,) float64."""
        return summary.importance(self.M, self.variances)

    def to(self, device: torch.device) -> Self:
        """Return the same model on ``device``."""
        return replace(
            self,
            M=self.M.to(device),
            targets=self.targets.to(device),
            tree=self.tree.to(device),
            leaves=self.leaves.to(device),
            blocks=self.blocks.to(device),
            variances=self.variances.to(device),
        )

    @property
    def head(self) -> "Head":
        """All of the model but its machines' rows."""
        return Head(
            self.tree,
            self.share,
            self.temperature,
            self.variances,
            self.leaves.rows + self.blocks.rows,
            tuple(machine.bandwidth for machine in (*self.leaves, *self.blocks)),
            self.ridges,
            self.losses,
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return named tensors and JSON-able metadata from which ``from_tensors`` makes the same model.

        ``X`` (p, d) and ``alpha`` (p, c) hold the leaves one after another, then the blocks, number k from
        ``starts[k]`` on.
        """
        machines = [*self.leaves, *self.blocks]
        tensors, metadata = self.head.to_tensors(machines[0])
        tensors["X"] = torch.cat([machine.X for machine in machines])
        tensors["alpha"] = torch.cat([machine.alpha for machine in machines])
        return tensors, metadata

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Self:
        """Return the model that ``to_tensors`` took apart.

        Raises:
            DamagedFile: the format is of another version, or the tensors do not go together.
        """
        head = Head.from_tensors(tensors, metadata, tensors["X"].shape)
        if len(tensors["alpha"]) != len(tensors["X"]):
            raise DamagedFile("the model's machines do not go together with its tree")

        def machine(number: int) -> FittedModel:
            rows = slice(*head.rows_of(number))
            # rounding depends on where rows lie in memory: a part of a tensor lies anywhere, a tensor of its own as the
            # fitted one did
            own = {name: tensors[name][rows].clone() for name in ("X", "alpha")}
            return head.machine(number, {**tensors, **own}, metadata)

        leaves, blocks = (MachineList(map(machine, numbers)) for numbers in head.numbers)
        return cls.assembled(head, leaves[0], leaves, blocks)

    @classmethod
    def assembled(cls, head: "Head", first: FittedModel, leaves: MachineList, blocks: MachineList) -> Self:
        """Return the model of a head, and of its leaves and blocks. ``first``: any machine, of M and the targets."""
        return cls(
            first.M,
            first.targets,
            head.tree,
            leaves,
            blocks,
            head.share,
            head.temperature,
            head.variances,
            head.ridges,
            head.losses,
        )


@dataclass(frozen=True)
class Head:
    """All of a model but its machines' rows, of which each has ``counts``; other fields as of ``BlocksModel``."""

    tree: Tree
    share: float
    temperature: float
    variances: Tensor
    counts: tuple[int, ...]
    bandwidths: tuple[float | None, ...]
    ridges: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def numbers(self) -> tuple[range, range]:
        """The numbers of the leaves, and of the blocks behind them."""
        return range(self.tree.leaves), range(self.tree.leaves, len(self.counts))

    @cached_property
    def starts(self) -> list[int]:
        """Where the rows of each machine begin among those of all, and where the last ones end."""
        return list(accumulate(self.counts, initial=0))

    def rows_of(self, number: int) -> tuple[int, int]:
        """Return where the rows of a machine begin and end among those of all."""
        return self.starts[number], self.starts[number + 1]

    def machine(self, number: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> FittedModel:
        """Return a machine of its own X and alpha, and the tensors that all share.

        Raises:
            DamagedFile: they do not go together.
        """
        return FittedModel.from_tensors(tensors, {**metadata["machine"], "bandwidth": self.bandwidths[number]})

    def to_tensors(self, first: FittedModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors but X and alpha, and the metadata. ``first``: any of the machines."""
        tensors, machine = first.to_tensors()
        tensors = {name: tensor for name, tensor in tensors.items() if name not in ("X", "alpha")}
        tensors |= {f"tree_{name}": tensor for name, tensor in self.tree.to_tensors().items()}
        tensors |= {
            "starts": torch.tensor(self.starts),
            "variances": self.variances,
            "ridges": torch.tensor(self.ridges, dtype=torch.float64),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
        }
        if machine.pop("bandwidth") is not None:
            tensors["bandwidths"] = torch.tensor(self.bandwidths, dtype=torch.float64)
        metadata = {
            "format": BLOCKS,
            "format_version": FORMAT_VERSION,
            "share": self.share,
            "temperature": self.temperature,
            "machine": machine,
        }
        return tensors, metadata

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], shape: Sequence[int]) -> "Head":
        """Return the head that ``to_tensors`` took apart. ``shape``: of the rows of all machines, (p, d).

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
        p, d = shape
        if (
            any(len(values) != len(starts) - 1 for values in per_machine)
            or len(starts) < tree.leaves + 1
            or starts != sorted(starts)
            or (starts[0], starts[-1]) != (0, p)
            or tree.directions.shape[1] != d
            or len(tensors["variances"]) != d
        ):
            raise DamagedFile("the model's machines do not go together with its tree")
        counts = tuple(stop - start for start, stop in pairwise(starts))
        return cls(
            tree,
            metadata["share"],
            metadata["temperature"],
            tensors["variances"],
            counts,
            tuple(tensors["bandwidths"].tolist()) if "bandwidths" in tensors else (None,) * len(counts),
            tuple(tensors["ridges"].tolist()),
            tuple(tensors["losses"].tolist()),
        )


def blended(leaves: MachineList, outputs: int, X: Tensor, answering: Tensor, shares: Tensor) -> Tensor:
    """Return the answers (m, outputs) float64 to rows X, of leaves ``answering`` (m, k) with weights ``shares``."""
    found = torch.zeros((len(X), outputs), dtype=torch.float64, device=X.device)
    answers = shares > 0
    for number in sorted(set(answering[answers].tolist())):
        rows, places = torch.nonzero((answering == number) & answers, as_tuple=True)
        found[rows] += shares[rows, places].unsqueeze(1) * leaves.answers(number)(X[rows])
    # a row so far away that its distances to the cuts are no numbers has no leaf, and no answer
    found[shares.isnan().any(1)] = torch.nan
    return found
