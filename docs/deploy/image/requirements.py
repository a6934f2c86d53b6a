"""Writes what the images install, out of pyproject.toml and constraints.txt: torch.txt and packages.txt.

Each is the only input of its layer, so a change of anything else in those files leaves the layer as it was.
"""

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = ("onnx", "otel", "s3")
WITH_TORCH = ("torch", "filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "sympy", "typing-extensions")
"""torch and what it needs itself; another build of it may bring more."""


def main(source: Path, target: Path) -> None:
    """Read both files in ``source``, and write the two lists into ``target``."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    pins = [line for line in (source / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    wanted = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    (target / "torch.txt").write_text(_lines(pin for pin in pins if _name(pin) in WITH_TORCH))
    (target / "packages.txt").write_text(_lines(one for one in wanted if _name(one) not in WITH_TORCH))


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def _lines(requirements: object) -> str:
    return "".join(f"{one}\n" for one in requirements)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
