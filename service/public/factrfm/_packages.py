"""Import of ``service`` and ``worker``, whose names other packages may have too."""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

NAMES = ("service", "worker")
FOLDER = next(
    folder
    for folder in Path(__file__).resolve().parents
    if all((folder / name / "__init__.py").is_file() for name in NAMES)
)
"""The folder that contains them."""


def load() -> None:
    """Import both packages from ``FOLDER``, regardless of sys.path."""
    for name in NAMES:
        folder = FOLDER / name
        spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        if spec is None or spec.loader is None:
            raise ImportError(f"{folder} cannot be imported")
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


def explain(error: Exception, module: str) -> None:
    """Raise an error that explains why the import of ``module`` failed, if the cause is known.

    Raises:
        ImportError: another package of the same name was imported, or an extra is not installed.
    """
    name = module.partition(".")[0]
    package = import_module(name)
    place = Path(package.__file__ or next(iter(package.__path__)))
    if place.resolve() != FOLDER / name / "__init__.py":
        raise ImportError(
            f"factrfm needs its own package {name!r}, which is in {FOLDER}, and Python finds another one first: "
            f"{place}; rename that one, or take its folder out of PYTHONPATH"
        ) from error
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in ("pandas", "sklearn"):
        raise ImportError(f"{error}; install the extra: pip install 'factrfm[sklearn]'", name=error.name) from error
