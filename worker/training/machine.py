"""The device that trains, and how much memory a training may take on it."""

import platform
from dataclasses import dataclass

import psutil
import torch

from worker import VERSION
from worker.contracts.errors import DoesNotFit
from worker.environment import cgroup

CGROUP = cgroup.ROOT
GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """The device of a run. ``memory_bytes``: the operator's limit, None for all free memory."""

    device: torch.device
    memory_bytes: int | None

    @classmethod
    def find(cls, device: str, memory_bytes: int | None) -> "Machine":
        """Return the machine for a setting such as ``auto``, ``cpu`` or ``cuda:1``."""
        if device == "auto":
            device = "cuda:0" if torch.cuda.is_available() else "cpu"
        return cls(torch.device(device), memory_bytes)

    def check_fits(self, needed: int) -> None:
        """Check an estimate against the available memory.

        Raises:
            DoesNotFit: the message names both figures.
        """
        free = self.available_bytes()
        if needed > free:
            raise DoesNotFit(
                f"the fit needs about {needed / GIB:.2f} GiB on {self.device} and {free / GIB:.2f} GiB are available; "
                "use fewer rows, precision 'float32', or a larger machine"
            )

    def available_bytes(self) -> int:
        """Return the available bytes: of the GPU, or of the system and the container, up to the operator's limit."""
        if self.device.type == "cuda":
            free = int(torch.cuda.mem_get_info(self.device)[0])
        else:
            free = int(psutil.virtual_memory().available)
            in_group = cgroup.free_memory(CGROUP)
            free = free if in_group is None else min(free, in_group)
        return free if self.memory_bytes is None else min(free, self.memory_bytes)


def versions() -> dict[str, str]:
    """Return the versions of the programs that affect the results of a training."""
    return {"factrfm": VERSION, "torch": str(torch.__version__), "python": platform.python_version()}
