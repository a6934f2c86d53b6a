"""What one kernel machine answers, to the same bits whichever rows are beside a row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import torch
from torch import Tensor

from worker.engine.kernels import KernelPoints
from worker.engine.model import FittedModel

TILE_ROWS = 32
"""It answers so many rows at a time, always as many: a matrix product rounds by the shape of what is multiplied,
and vectorised functions treat what is left over beyond whole vectors differently."""
ROW_MULTIPLE, COLUMN_MULTIPLE = 64, 8
"""For the same reason its rows and columns are filled up to multiples of these, with a row again whose alpha is 0
and with columns of zeros: then all rows of a tile are rounded alike by the libraries that torch brings, which tests
watch."""


@dataclass(frozen=True)
class Answers:
    """A kernel machine made ready to answer."""

    model: FittedModel

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory once it has answered: its rows and alpha, and both as they are filled up."""
        X, alpha = self.model.X, self.model.alpha
        return 3 * X.numel() * X.element_size() + alpha.numel() * (alpha.element_size() + 8)

    @cached_property
    def points(self) -> KernelPoints:
        """The training rows as the kernel sees them, filled up."""
        M = _filled(self.model.M.to(self.model.X.dtype), *(COLUMN_MULTIPLE for _ in self.model.M.shape))
        n = len(self.model.X)
        # rows of zeros may lie far from all others, and would cost digits
        again = torch.arange(n + -n % ROW_MULTIPLE, device=M.device).clamp(max=n - 1)
        points = KernelPoints(_filled(self.model.X[again], 1, COLUMN_MULTIPLE), M, self.model.kernel)
        points.release()
        return points

    @cached_property
    def _alpha(self) -> Tensor:
        """Alpha in float64, as sums of it want, filled up, (c, n)."""
        return _filled(self.model.alpha.double(), ROW_MULTIPLE, 1).T.contiguous()

    def __call__(self, X: Tensor) -> Tensor:
        """Return standardised outputs, or class scores less frequencies, (m, c) float64, of rows X (m, d).

        Memory is one tile of kernel rows.
        """
        found = torch.empty((len(X) + -len(X) % TILE_ROWS, len(self._alpha)), dtype=torch.float64, device=X.device)
        for rows, products in self._tiles(X):
            wide = self.model.kernel.value_(products, self.model.bandwidth).double()
            # one output after another: a product with several rounds rows by their place in the tile
            for column, alpha in enumerate(self._alpha):
                found[rows, column] = wide @ alpha
        return found[: len(X)]

    def products(self, X: Tensor) -> Tensor:
        """Return what the kernel is a function of, (m, n), between rows X (m, d) and the machine's, as in an answer."""
        tiles = [products[:, : len(self.model.X)] for _, products in self._tiles(X)]
        return torch.cat(tiles)[: len(X)] if tiles else X.new_empty((0, len(self.model.X)))

    def _tiles(self, X: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows, filled up, and what the kernel is a function of between them and the points."""
        Q = _filled(X.to(self.model.X.dtype), TILE_ROWS, COLUMN_MULTIPLE)
        for start in range(0, len(Q), TILE_ROWS):
            rows = slice(start, start + TILE_ROWS)
            yield rows, self.points.products(Q[rows])


class MachineList(Sequence[FittedModel]):
    """Kernel machines with one M and precision, made ready to answer when they are first asked."""

    def __init__(self, machines: Iterable[FittedModel]) -> None:
        self._answers = [Answers(machine) for machine in machines]

    @overload
    def __getitem__(self, number: int) -> FittedModel: ...

    @overload
    def __getitem__(self, number: slice) -> list[FittedModel]: ...

    def __getitem__(self, number: int | slice) -> FittedModel | list[FittedModel]:
        if isinstance(number, slice):
            return [self.answers(place).model for place in range(len(self))[number]]
        return self.answers(range(len(self))[number]).model

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def nbytes(self) -> int:
        """Bytes of their rows and alphas in memory."""
        return sum(answers.model.X.nbytes + answers.model.alpha.nbytes for answers in self._answers)

    @property
    def rows(self) -> tuple[int, ...]:
        """How many rows each machine has."""
        return tuple(len(answers.model.X) for answers in self._answers)

    @property
    def dtype(self) -> torch.dtype:
        """That of their rows."""
        return self._answers[0].model.X.dtype

    def answers(self, number: int) -> Answers:
        """Return a machine made ready to answer."""
        return self._answers[number]

    def to(self, device: torch.device) -> "MachineList":
        """Return the same machines on ``device``."""
        return MachineList(answers.model.to(device) for answers in self._answers)


def mean_outputs(machines: Iterable[Callable[[Tensor], Tensor]], X: Tensor, own: Tensor | None = None) -> Tensor:
    """Return the mean of what machines, at least one, answer to rows X (m, d), (m, c) float64, added in their order.

    ``Answers`` give the same bits whichever rows come together; ``FittedModel.raw`` is up to twice as quick.

    ``own`` (m,) int64: of rows that trained some machine, which one; it is left out of their mean, so that they are
    answered as rows that no machine has seen. Any other number, −1 say, leaves out none.
    """
    total = torch.zeros((), dtype=torch.float64, device=X.device)
    counts = torch.zeros((len(X), 1), dtype=torch.float64, device=X.device)
    for number, machine in enumerate(machines):
        outputs = machine(X).double()
        if own is not None:
            outputs[own == number] = 0.0
        counts += 1.0 if own is None else (own != number).double().unsqueeze(1)
        total = total + outputs
    return total / counts


def _filled(A: Tensor, *multiples: int) -> Tensor:
    """Return A with zeros behind each of its axes, up to a multiple of the numbers given."""
    shape = [length + -length % multiple for length, multiple in zip(A.shape, multiples, strict=True)]
    filled = A.new_zeros(shape)
    filled[tuple(slice(length) for length in A.shape)] = A
    return filled
