"""``factrfm`` is what people import: every name in it is the thing itself, imported when it is asked for."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import factrfm

TREE = ast.parse(Path(str(factrfm.__file__)).read_text())


def in_a_new_process(program: str) -> str:
    """Run ``program`` with the tree of these tests; returns what it prints."""
    text = f"import sys\nsys.path[:0] = {sys.path!r}\n{program}"
    return subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True).stdout


def told_to_type_checkers() -> dict[str, str]:
    """Return the module of each name as ``if TYPE_CHECKING`` imports it."""
    [block] = [one for one in TREE.body if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING"]
    return {alias.name: str(one.module) for one in block.body if isinstance(one, ast.ImportFrom) for alias in one.names}


@pytest.mark.parametrize("name", factrfm.__all__)
def test_a_name_is_the_thing_of_the_module_that_type_checkers_are_told(name: str) -> None:
    assert getattr(factrfm, name) is getattr(import_module(told_to_type_checkers()[name]), name)


def test_what_is_offered_is_what_type_checkers_are_told() -> None:
    assert list(factrfm.__all__) == dir(factrfm) == sorted(told_to_type_checkers())


@pytest.mark.parametrize(
    "old",
    [
        "from service.client import AsyncClient, Client, ClientError, JobFailed, NotReached, Refused, TimedOut",
        "from service.client import UnknownCategories, UnreadableAnswer",
        "from service.client.progress import Bar",
        "from worker.estimators import FactRFMClassifier, FactRFMRegressor",
        "from worker.prediction import Answer, Origin, ServedModel, load",
        "from worker.contracts.errors import ArtifactCorrupt, ColumnMismatch, FactRFMError, InvalidRequest",
    ],
)
def test_imports_of_before_are_the_same_things(old: str) -> None:
    names: dict[str, object] = {}
    exec(old, names)
    for name in set(names) & set(factrfm.__all__):
        assert names[name] is getattr(factrfm, name)


def test_a_name_that_there_is_not_is_said_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'factrfm' has no attribute 'Klient'"):
        _ = factrfm.Klient
    with pytest.raises(ImportError, match="cannot import name 'Klient'"):
        exec("from factrfm import Klient")


HEAVY = ("torch", "sklearn", "pandas", "matplotlib", "fastapi", "celery", "sqlalchemy")
LOADED = f"print([name for name in {HEAVY} if name in sys.modules])"


def test_the_package_alone_imports_nothing_but_itself() -> None:
    told = in_a_new_process("before = set(sys.modules)\nimport factrfm\nprint(sorted(set(sys.modules) - before))")
    assert {name.partition(".")[0] for name in ast.literal_eval(told)} <= {"factrfm", "importlib", "typing"} | set(
        sys.stdlib_module_names
    )


@pytest.mark.parametrize("name", ["Client", "AsyncClient", "Refused", "UnknownCategories", "ProgressBar"])
def test_a_client_brings_no_torch(name: str) -> None:
    assert in_a_new_process(f"from factrfm import {name}\n{LOADED}") == "[]\n"


def test_the_estimators_and_models_do_bring_it() -> None:
    assert "'torch'" in in_a_new_process(f"from factrfm import FactRFMRegressor\n{LOADED}")
    assert in_a_new_process(f"from factrfm import load\n{LOADED}") == "['torch']\n"


def test_without_the_extra_it_is_named() -> None:
    absent = "sys.modules['pandas'] = None\nimport factrfm\n"
    program = f"{absent}try:\n    factrfm.FactRFMClassifier\nexcept ImportError as error:\n    print(error)"
    assert "pip install 'factrfm[sklearn]'" in in_a_new_process(program)
