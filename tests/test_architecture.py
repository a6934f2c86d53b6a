"""The arrows between packages are kept, and each rule is able to break."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.processes import REPOSITORY

BREACHES = {
    "the engine imports nothing of ours": ("worker/engine/kernels/points.py", "import worker.contracts.specs"),
    "the engine imports torch alone": ("worker/engine/kernels/points.py", "import numpy"),
    "contracts import neither torch nor I/O": ("worker/contracts/specs.py", "import torch"),
    "layers of the worker": ("worker/store/ids.py", "import worker.tables.media"),
    "every module of the worker has a layer": ("worker/stray.py", ""),
    "the search knows no jobs": ("worker/training/search.py", "import worker.store.files.artifacts"),
    "only the search knows optuna": ("worker/runs/tune.py", "import optuna"),
    "the computing process knows no database": ("worker/runs/fit.py", "import worker.store.jobs"),
    "nothing in worker imports service": ("worker/shell/lease.py", "import service.settings"),
    "service never reaches the Celery shell": ("worker/environment/job_queue.py", "import worker.shell.tasks"),
    "layers of the service": ("service/runtime/predictor.py", "import service.routes.jobs"),
    "nothing imports what is made for others": ("service/cli.py", "import service.public.factrfm"),
    "what every request meets knows no use case": ("service/http/problems.py", "import service.jobs.planning"),
    "every module of the service has a layer": ("service/stray.py", ""),
    "the client knows contracts alone": ("service/client/calls.py", "import torch"),
}

MAX_FILES, MAX_LINES = 16, 350


def _lint_imports(folder: Path) -> int:
    program = str(Path(sys.executable).with_name("lint-imports"))
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, check=False).returncode


def _copy(tmp_path: Path) -> Path:
    for name in ("service", "worker"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_point_one_way(tmp_path: Path) -> None:
    assert _lint_imports(_copy(tmp_path)) == 0


def test_folders_and_files_are_small_enough_to_be_read() -> None:
    folders: Counter[Path] = Counter()
    long = []
    for path in (path for package in ("service", "worker") for path in (REPOSITORY / package).rglob("*.py")):
        folders[path.parent] += 1
        if (lines := len(path.read_text().splitlines())) > MAX_LINES:
            long.append(f"{path.relative_to(REPOSITORY)} has {lines} lines")
    assert long == []
    assert [folder for folder, files in folders.items() if files > MAX_FILES] == []


@pytest.mark.parametrize("rule", BREACHES)
def test_a_breach_is_found(tmp_path: Path, rule: str) -> None:
    folder = _copy(tmp_path)
    name, line = BREACHES[rule]
    file = folder / name
    file.write_text(f"{file.read_text() if file.exists() else ''}\n{line}\n")
    assert _lint_imports(folder) == 1
