"""Packages of others in the place of ours: ``service`` and ``worker`` are common names."""

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
    """Return those of our packages that Python finds elsewhere along ``path``, sys.path by default.

    Each with the file that is imported in its place, or the folder where there is no file.
    """
    shadows = {}
    for name in NAMES:
        # not importlib.util.find_spec, which says what this process has imported already
        spec = PathFinder.find_spec(name, sys.path if path is None else path)
        if spec is None:
            continue
        place = Path(spec.origin or next(iter(spec.submodule_search_locations or ())))
        if place.resolve() not in (OURS / name / "__init__.py", OURS / "service/public" / name / "__init__.py"):
            shadows[name] = place
    return shadows


def find_co_owners() -> dict[str, list[str]]:
    """Return those of our packages that other projects have installed files of, each with these projects."""
    owners = metadata.packages_distributions()
    others = {name: sorted({project for project in owners.get(name, ()) if project != PROJECT}) for name in NAMES}
    return {name: projects for name, projects in others.items() if projects}


def describe(shadows: Mapping[str, Path]) -> str:
    """Return what is said of ``shadows``, and what helps."""
    named = ", ".join(f"{name} is {place}" for name, place in shadows.items())
    return f"{named}, another package than ours; rename it, or take its folder out of PYTHONPATH"
