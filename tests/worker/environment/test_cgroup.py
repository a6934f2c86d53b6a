"""Limits are read from made-up folders of control groups, as kernels write them."""

from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from service.runtime.reader_pool import _Reader
from worker.environment import cgroup
from worker.settings import GIB, WorkerSettings
from worker.shell.child import Child
from worker.training import machine
from worker.training.machine import Machine

MIB = 2**20


def group(folder: Path, **files: object) -> Path:
    """Write a group's files; ``__`` stands for the point in a name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")
    return folder


def member(tmp_path: Path, *lines: str) -> Path:
    """Write which groups the process is in."""
    path = tmp_path / "cgroup"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def version_2(folder: Path, limit: object, used: int, cached: int = 0) -> Path:
    stat = f"anon {used - cached}\nfile {cached}\ninactive_file {cached}\nactive_file 0"
    return group(folder, memory__max=limit, memory__current=used, memory__stat=stat)


@pytest.mark.parametrize(
    ("limit", "used", "cached", "free"),
    [
        (1000, 900, 0, 100),
        (1000, 900, 850, 950),
        (1000, 1000, 0, 0),
        (1000, 1200, 0, 0),
        ("max", 900, 0, None),
    ],
)
def test_cached_pages_that_the_kernel_gives_up_are_free(tmp_path, limit, used, cached, free):
    root = version_2(tmp_path / "root", limit, used, cached)
    assert cgroup.free_memory(root, member(tmp_path, "0::/")) == free


def test_a_worker_whose_container_is_full_of_cached_files_takes_a_job_that_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", version_2(tmp_path / "root", 64 * MIB, 63 * MIB, 60 * MIB))
    assert Machine(torch.device("cpu"), None).available_bytes() == 61 * MIB
    Machine(torch.device("cpu"), None).check_fits(50 * MIB)


def test_without_a_limit_the_system_alone_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "nothing")
    assert 0 < Machine(torch.device("cpu"), None).available_bytes() <= psutil.virtual_memory().total


def test_the_tightest_group_above_holds(tmp_path):
    root = version_2(tmp_path / "root", "max", 5000)
    version_2(root / "pod", 1000, 800, 100)
    version_2(root / "pod" / "worker", 2000, 300, 0)
    inside = member(tmp_path, "0::/pod/worker")
    assert cgroup.free_memory(root, inside) == 300
    assert cgroup.memory_limit(root, inside) == 1000
    version_2(root / "pod" / "worker", 500, 400, 50)
    assert cgroup.free_memory(root, inside) == 150
    version_2(root / "pod" / "another", 10, 10)
    assert cgroup.free_memory(root, inside) == 150, "a group beside ours bounds nothing of ours"


def test_where_the_kernel_begins_to_slow_down_is_a_limit_too(tmp_path):
    root = version_2(tmp_path / "root", 1000, 300)
    (root / "memory.high").write_text("700\n")
    assert cgroup.free_memory(root, member(tmp_path, "0::/")) == 400


@pytest.mark.parametrize("path", ["/", "/docker/0123abcd", "/../outside"])
def test_a_container_sees_its_own_group_as_the_root_whatever_its_path_is_outside(tmp_path, path):
    root = version_2(tmp_path / "root", 1000, 400)
    version_2(tmp_path / "outside", 10, 10)
    assert cgroup.free_memory(root, member(tmp_path, f"0::{path}")) == 600


def test_version_1_is_read_with_the_limits_of_groups_that_cannot_be_seen(tmp_path):
    stat = "cache 700\ninactive_file 1\nhierarchical_memory_limit 1000\ntotal_inactive_file 600"
    files = {"memory__limit_in_bytes": 4000, "memory__usage_in_bytes": 800, "memory__stat": stat}
    group(tmp_path / "root" / "memory", **files)
    inside = member(tmp_path, "9:memory:/docker/0123abcd", "0::/")
    assert cgroup.free_memory(tmp_path / "root", inside) == 800
    files["memory__stat"] = "hierarchical_memory_limit 9223372036854771712\ntotal_inactive_file 0"
    group(tmp_path / "root" / "memory", **{**files, "memory__limit_in_bytes": 9223372036854771712})
    assert cgroup.free_memory(tmp_path / "root", inside) is None
    group(tmp_path / "root" / "memory" / "docker" / "0123abcd", **{**files, "memory__limit_in_bytes": 900})
    assert cgroup.free_memory(tmp_path / "root", inside) == 100


@pytest.mark.parametrize(
    ("written", "cpus"),
    [("max 100000", None), ("200000 100000", 2.0), ("150000 100000", 1.5), ("50000 100000", 0.5), ("", None)],
)
def test_the_limit_of_cpu_time_is_in_cpus(tmp_path, written, cpus):
    root = group(tmp_path / "root", cpu__max=written)
    assert cgroup.cpu_limit(root, member(tmp_path, "0::/")) == cpus


def test_version_1_limits_cpu_time_too(tmp_path):
    group(tmp_path / "root" / "cpu,cpuacct", cpu__cfs_quota_us=100000, cpu__cfs_period_us=100000)
    inside = member(tmp_path, "4:cpu,cpuacct:/")
    assert cgroup.cpu_limit(tmp_path / "root", inside) == 1.0
    group(tmp_path / "root" / "cpu,cpuacct", cpu__cfs_quota_us=-1)
    assert cgroup.cpu_limit(tmp_path / "root", inside) is None


def test_libraries_start_as_many_threads_as_there_is_cpu_time_for(tmp_path):
    root = group(tmp_path / "root", cpu__max="100000 100000")
    assert cgroup.thread_environment({}, root) == {"OMP_NUM_THREADS": "1"}
    assert cgroup.thread_environment({"OMP_NUM_THREADS": "3"}, root) == {}
    assert cgroup.thread_environment({}, tmp_path / "nothing") == {}
    group(root, cpu__max="6400000 100000")
    assert cgroup.usable_cpus(root, member(tmp_path, "0::/")) == cgroup.usable_cpus(tmp_path / "nothing")


def test_the_processes_that_compute_are_told_of_the_limit(tmp_path, monkeypatch):
    root = group(tmp_path / "root", cpu__max="100000 100000")
    limited = partial(cgroup.thread_environment, root=root)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("worker.environment.json_lines.thread_environment", limited)
    child = Child(WorkerSettings(device="cpu", storage_url=str(tmp_path)))
    reader = _Reader(GIB)
    try:
        for process in (psutil.Process(child.pid), psutil.Process(reader.pid)):
            assert process.environ()["OMP_NUM_THREADS"] == "1"
    finally:
        reader.end()
        child.end(5)
