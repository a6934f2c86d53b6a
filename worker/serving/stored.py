"""Models in storage: a tree's machines are read one by one, when a row first asks for them.

The file of such a model has all machines' rows one after another, and ``checksums`` (machines, 32) uint8, the SHA-256
of each machine's rows and alpha. So a part of the file can be trusted without the rest.
"""

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from cachetools import LRUCache

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import ArtifactCorrupt
from worker.engine.blocks.answers import Answers, MachineList
from worker.engine.blocks.model import BlocksModel, Head
from worker.engine.model import FittedModel
from worker.serving.model import ServedModel
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import LENGTH_BYTES, LargeFile, Layout, unpack

ROWS = ("X", "alpha")
CHECKSUMS = "checksums"


class Kept(Protocol):
    """Keeps machines in memory, within its bounds."""

    def __call__(self, number: int, read: Callable[[], Answers]) -> Answers:
        """Return a machine that is kept, or one that ``read`` returns."""


class KeptMachines:
    """Those that were asked last, of one model, at most ``max_bytes`` together. For one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._machines: LRUCache[int, Answers] = LRUCache(max_bytes, lambda machine: machine.nbytes)

    def __call__(self, number: int, read: Callable[[], Answers]) -> Answers:
        machine = self._machines.get(number)
        if machine is None:
            machine = read()
            if machine.nbytes <= self._machines.maxsize:
                self._machines[number] = machine
        return machine


@dataclass(frozen=True)
class _Source:
    """The file of a model: how its machines are read."""

    artifacts: Artifacts
    ref: ArtifactRef
    layout: Layout
    head: Head
    shared: dict[str, torch.Tensor]
    metadata: dict[str, Any]
    checksums: np.ndarray
    device: torch.device

    def machine(self, number: int) -> Answers:
        """Return a machine.

        Raises:
            ArtifactMissing, ArtifactCorrupt: storage lost or changed the file.
        """
        start, stop = self.head.rows_of(number)
        contents = self.artifacts.read_parts(self.ref, [self.layout.part(name, start, stop) for name in ROWS])
        if hashlib.sha256(b"".join(contents)).digest() != self.checksums[number].tobytes():
            raise ArtifactCorrupt(
                f"the machine {number} of {self.ref.key!r} has another checksum than when it was stored"
            )
        own = {
            name: torch.from_numpy(self.layout.array(name, content, stop - start))
            for name, content in zip(ROWS, contents, strict=True)
        }
        return Answers(self.head.machine(number, {**self.shared, **own}, self.metadata).to(self.device))


class StoredMachines(MachineList):
    """Machines of a file, from ``numbers[0]`` on, which are read when they are asked."""

    def __init__(self, source: _Source, numbers: range, kept: Kept) -> None:
        super().__init__(())
        self._source, self._numbers, self._kept = source, numbers, kept

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def nbytes(self) -> int:
        # whoever keeps machines counts them
        return 0

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(self._source.head.counts[number] for number in self._numbers)

    @property
    def dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, self._source.layout.arrays["X"][0])).dtype

    def answers(self, number: int) -> Answers:
        place = self._numbers[number]
        return self._kept(place, lambda: self._source.machine(place))

    def to(self, device: torch.device) -> "StoredMachines":
        return StoredMachines(replace(self._source, device=device), self._numbers, self._kept)


def load_model(artifacts: Artifacts, ref: ArtifactRef, kept: Kept) -> ServedModel:
    """Return a stored model. Of a tree's machines none is read before it is asked, and ``kept`` decides which stay.

    Raises:
        ArtifactMissing, ArtifactCorrupt: storage lost or changed the file.
    """
    if not _has_checksums(artifacts, ref):
        return ServedModel.from_tensors(*unpack(artifacts.read_bytes(ref)))
    with artifacts.open_part(ref) as file:
        layout = Layout.of(file)
        arrays = {}
        for name in layout.arrays:
            if name not in ROWS:
                start, length = layout.part(name)
                file.seek(start)
                arrays[name] = layout.array(name, file.read(length))
    engine = layout.metadata["engine"]
    checksums = arrays.pop(CHECKSUMS)
    shared = {name: torch.from_numpy(array) for name, array in arrays.items()}
    head = Head.from_tensors(shared, engine, layout.arrays["X"][1])
    source = _Source(artifacts, ref, layout, head, shared, engine, checksums, torch.device("cpu"))
    leaves, blocks = (StoredMachines(source, numbers, kept) for numbers in head.numbers)
    nothing = {name: torch.from_numpy(layout.array(name, b"", 0)) for name in ROWS}
    first = head.machine(0, {**shared, **nothing}, engine)
    return ServedModel.of(BlocksModel.assembled(head, first, leaves, blocks), arrays, layout.metadata)


def write_model(path: Path, model: ServedModel, machines: Iterable[FittedModel], head: Head) -> None:
    """Write the file of a tree's model whose machines are given one at a time: the leaves, then the blocks.

    ``model``: says all of it but these; its ``fitted`` may have no machines. ``head``: of the machines.
    """
    machines = iter(machines)
    first = next(machines)
    tensors, engine = head.to_tensors(first)
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()} | model.arrays()
    dtype, p = first.X.numpy().dtype, sum(head.counts)
    large = {
        "X": (dtype, (p, first.X.shape[1])),
        "alpha": (dtype, (p, first.alpha.shape[1])),
        CHECKSUMS: (np.dtype(np.uint8), (len(head.counts), hashlib.sha256().digest_size)),
    }
    with LargeFile(path, arrays, large, model.metadata(engine)) as file:
        for number, machine in enumerate(chain([first], machines)):
            start, _ = head.rows_of(number)
            content = b"".join(file.put(name, start, getattr(machine, name).cpu().numpy()) for name in ROWS)
            file.put(CHECKSUMS, number, np.frombuffer(hashlib.sha256(content).digest(), np.uint8)[None])


def _has_checksums(artifacts: Artifacts, ref: ArtifactRef) -> bool:
    """Return whether the file has checksums of machines; its header is trusted only when all of it is verified."""
    try:
        [start] = artifacts.read_parts(ref, [(0, LENGTH_BYTES)])
        length = int.from_bytes(start, "little")
        if length > ref.bytes:
            return False
        [header] = artifacts.read_parts(ref, [(0, LENGTH_BYTES + length)])
        return CHECKSUMS in Layout.of(io.BytesIO(header)).arrays
    except ArtifactCorrupt:
        # reading all of it says what is wrong
        return False
