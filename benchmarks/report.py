"""What a benchmark found: tables, notes and pictures, with all that it takes to get them again."""

import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
QUICK_RESULTS = Path("build") / "benchmarks"
"""A quick run is a check that the command works; its figures are not kept with the project."""
PACKAGES = ("numpy", "scikit-learn", "xrfm", "lightgbm", "xgboost-cpu", "catboost", "optuna")

Cell = str | int | float | None


class Report:
    """The result of one benchmark: printed as it grows, written as ``NAME.md`` and ``NAME.json``."""

    def __init__(self, name: str, arguments: Sequence[str], *, seed: int | None, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._began = time.perf_counter()
        self._parts: list[str] = []
        self._tables: list[dict[str, Any]] = []
        self._notes: list[str] = []
        self._command = shlex.join(["python", "-m", "benchmarks", name, *arguments])
        self._seed = seed
        folder.mkdir(parents=True, exist_ok=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Print and keep a table. Numbers are kept whole; the text shows four significant digits."""
        lines = [f"## {title}", "", _line(columns), _line(["---"] * len(columns))]
        lines += [_line([_text(cell) for cell in row]) for row in rows]
        self._tables.append({"title": title, "columns": list(columns), "rows": [list(row) for row in rows]})
        self._say("\n".join(lines))

    def note(self, text: str) -> None:
        """Print and keep a sentence."""
        self._notes.append(text)
        self._say(text)

    def picture(self, name: str, figure: Figure, caption: str) -> None:
        """Keep a picture as ``NAME-name.png``."""
        path = self.folder / f"{self.name}-{name}.png"
        figure.savefig(path, dpi=120, bbox_inches="tight", metadata={"Software": None})
        self._say(f"![{caption}]({path.name})\n\n{caption}")

    def save(self) -> None:
        """Write the report."""
        origin = self._origin()
        lines = [f"# {self.name}", "", f"`{self._command}`", ""]
        lines += [f"- {key}: {value}" for key, value in origin.items() if key != "command"]
        (self.folder / f"{self.name}.md").write_text("\n".join(lines) + "\n\n" + "\n\n".join(self._parts) + "\n")
        record = {"origin": origin, "tables": self._tables, "notes": self._notes}
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        (self.folder / f"{self.name}.json").write_text(text + "\n")
        print(f"written to {self.folder / self.name}.md", flush=True)

    def _say(self, text: str) -> None:
        self._parts.append(text)
        print(f"\n{text}", flush=True)

    def _origin(self) -> dict[str, Any]:
        return {
            "command": self._command,
            "seed": self._seed,
            "machine": machine(),
            "threads": torch.get_num_threads(),
            "versions": _versions(),
            "source": _source(),
            "seconds": round(time.perf_counter() - self._began),
        }


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def machine() -> str:
    """Return the processor, the number of cores and the memory."""
    return f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _source() -> str:
    """Return the commit, with a mark when the tree differs from it."""
    root = Path(__file__).parent
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()
