"""Detection of other packages named ``service`` or ``worker`` that hide ours."""

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

import service

PROJECT = "factrfm"
NAMES = (PROJECT, "service", "worker")
OURS = Path(str(service.__file__)).resolve().parents[1]


def find_shadows(path: Sequence[str] | None = None) -> dict[str, Path]:
    """Return our packages that Python would import from elsewhere along ``path``, by default sys.path.

    Each with the file, or else the folder, that is imported instead.
    """
    shadows = {}
    for name in NAMES:
        # importlib.util.find_spec would return what this process has imported already
        spec = PathFinder.find_spec(name, sys.path if path is None else path)
        if spec is None:
            continue
        place = Path(spec.origin or next(iter(spec.submodule_search_locations or ())))
        if place.resolve() not in (OURS / name / "__init__.py", OURS / "service/public" / name / "__init__.py"):
            shadows[name] = place
    return shadows


def find_co_owners() -> dict[str, list[str]]:
    """Return our packages into which other projects have installed files, with these projects."""
    owners = metadata.packages_distributions()
    others = {name: sorted({project for project in owners.get(name, ()) if project != PROJECT}) for name in NAMES}
    return {name: projects for name, projects in others.items() if projects}


def describe(shadows: Mapping[str, Path]) -> str:
    """Return a message about ``shadows``, with a remedy."""
    named = ", ".join(f"{name} is {place}" for name, place in shadows.items())
    return f"{named}, another package than ours; rename it, or take its folder out of PYTHONPATH"
