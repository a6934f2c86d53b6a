"""Memory and CPU limits of control groups, versions 1 and 2. This module imports only the standard library.

The limit of a group also holds for the groups below it, so this module reads every visible group above the process's
own: a container usually sees its own group as the root.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
UNIFIED = ""
"""Version 2 has one hierarchy; its line in ``MEMBERSHIP`` names no controller."""
NO_LIMIT = 2**60
"""Version 1 writes a number beyond any machine's memory where it sets no limit."""


def free_memory(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return how many bytes may still be allocated, None if no limit is set.

    The kernel counts cached file pages as used, but reclaims inactive ones before an allocation fails. They count as
    free here: otherwise a process that has read large files seems to have no memory left.
    """
    groups = _memory_groups(root, membership)
    return min((max(limit - used + cached, 0) for limit, used, cached in groups), default=None)


def memory_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return the memory limit that this process shares with its group, in bytes; None if no limit is set."""
    return min((limit for limit, _, _ in _memory_groups(root, membership)), default=None)


def cpu_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Return the CPU limit that this process shares with its group, in CPUs; None if no limit is set."""
    return min(_cpu_quotas(root, membership), default=None)


def usable_cpus(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """Return how many threads can compute at once: the CPUs of this process, bounded by the CPU limit."""
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit(root, membership)
    return present if limit is None else max(min(present, math.ceil(limit)), 1)


def thread_environment(environment: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """Return the variable that sets the number of threads of numerical libraries to the usable CPUs.

    Empty if ``environment`` has it, or if no limit is set: then the libraries use the CPUs of the machine.
    """
    if "OMP_NUM_THREADS" in environment or cpu_limit(root) is None:
        return {}
    return {"OMP_NUM_THREADS": str(usable_cpus(root))}


def _memory_groups(root: Path, membership: Path) -> Iterator[tuple[int, int, int]]:
    """Yield limit, use and inactive cached pages of each group that has a limit, in bytes."""
    for folder in _folders(root, membership, UNIFIED):
        # above ``high`` the kernel throttles processes to a standstill, long before ``max``
        limits = [value for name in ("memory.max", "memory.high") if (value := _number(folder / name)) is not None]
        used = _number(folder / "memory.current")
        if limits and used is not None:
            yield min(limits), used, _statistics(folder).get("inactive_file", 0)
    for folder in _folders(root, membership, "memory"):
        statistics = _statistics(folder)
        limit, used = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
        if limit is None or used is None:
            continue
        # a container may not see the groups above; this is the lowest of their limits
        limit = min(limit, statistics.get("hierarchical_memory_limit", limit))
        if limit < NO_LIMIT:
            yield limit, used, statistics.get("total_inactive_file", statistics.get("inactive_file", 0))


def _cpu_quotas(root: Path, membership: Path) -> Iterator[float]:
    for folder in _folders(root, membership, UNIFIED):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            yield int(quota) / int(period)
    for folder in _folders(root, membership, "cpu"):
        limit, length = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        # a quota of -1, which is no decimal number, sets no limit
        if limit is not None and length:
            yield limit / length


def _folders(root: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's group and of the visible groups above it."""
    if controller == UNIFIED:
        mounts = [root, root / "unified"]
    else:
        mounts = [root / name for name in (controller, "cpu,cpuacct") if controller in name.split(",")]
    path = _group(membership, controller)
    for mount in mounts:
        if not mount.is_dir():
            continue
        yield mount
        here = mount
        for name in path.split("/"):
            # a group outside of the visible hierarchy begins with '..'
            if name == "..":
                break
            here = here / name
            if name and here.is_dir():
                yield here


def _group(membership: Path, controller: str) -> str:
    """Return the path of this process's group in a hierarchy, '/' if it is unknown."""
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(","):
            return path
    return "/"


def _statistics(folder: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
    return {name: int(value) for name, _, value in pairs if value.isdecimal()}


def _number(path: Path) -> int | None:
    """Return the number in a file; None if there is none, or if it says ``max``."""
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
