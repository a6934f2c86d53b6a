"""The project as it is installed: ``factrfm`` can be imported, and packages of others in its place are named."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.processes import REPOSITORY

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("FACTRFM_", "PYTHON"))}
IMPORTS = """
import sys
from factrfm import Client
assert "torch" not in sys.modules
from factrfm import FactRFMClassifier, load
import factrfm, service, worker
print(factrfm.__file__, service.__file__, worker.__file__, sep="\\n")
"""
TYPED = """
from factrfm import Client, FactRFMRegressor, Klient, load
reveal_type(Client().fit("a.csv", "y"))
reveal_type(load("a.safetensors").task)
"""

FIND_SHADOWS = """
import sys
from service.local.shadowing import find_shadows
print(find_shadows([sys.argv[1], *sys.path]))
"""


@dataclass
class Environment:
    """A virtual environment with the project in it, beside the dependencies of these tests."""

    folder: Path
    source: Path
    packages: Path

    def run(self, program: str, *arguments: str, code: int = 0, **variables: str) -> str:
        """Run a program of the environment in an empty folder; returns all that it says."""
        here = self.folder / "empty"
        here.mkdir(exist_ok=True)
        variables.setdefault("FACTRFM_HOME", str(self.folder / "home"))
        done = subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=here,
            env=CLEAN | {"COLUMNS": "500"} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("service", "worker"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    place = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    # what pip asks of setuptools for a wheel, and for --editable
    made = "build_editable" if request.param == "editable" else "build_wheel"
    build = f"from setuptools import build_meta; build_meta.{made}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], check=True, cwd=source, env=CLEAN, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("*.whl")
    command = [*PIP, "--python", str(place / "bin/python"), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, cwd=folder, env=CLEAN)
    [packages] = place.glob("lib/python3.*/site-packages")
    # a path that is named so is searched last, and what lies in it is not run: no editable project of the tests' own
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return Environment(place, source, packages)


def test_the_name_can_be_imported(installed: Environment) -> None:
    files = installed.run("python", "-W", "error", "-c", IMPORTS).split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(installed.packages.parents[3].parent) for file in files), files


def test_the_command_runs(installed: Environment) -> None:
    assert installed.run("factrfm", "--version").startswith("factrfm ")
    assert "ok  packages" in installed.run("factrfm", "doctor", "--here")
    assert "factrfm doctor" in installed.run("python", "-m", "factrfm", "doctor", "--help")


def test_a_health_check_loads_neither_the_command_line_nor_what_it_needs(installed: Environment) -> None:
    told = installed.run("python", "-X", "importtime", "-m", "factrfm", "check", "--worker", code=1)
    assert "no worker runs here" in told
    loaded = set(re.findall(r"\| +(\w+)", told))
    assert {"service", "worker"} & loaded
    assert {"typer", "pydantic", "httpx", "torch", "sqlalchemy"} & loaded == set()


@pytest.mark.parametrize(("name", "form"), [("service", "package"), ("worker", "module"), ("factrfm", "package")])
def test_a_package_of_another_is_named(installed: Environment, tmp_path: Path, name: str, form: str) -> None:
    theirs = tmp_path / (f"{name}.py" if form == "module" else f"{name}/__init__.py")
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("")
    if name == "factrfm":
        told = installed.run("python", "-c", FIND_SHADOWS, str(tmp_path))
    else:
        told = installed.run("factrfm", "doctor", "--here", code=1, PYTHONPATH=str(tmp_path))
        assert "BAD packages" in told
        assert "torch" in told, "everything else is looked at all the same"
        assert str(theirs) in installed.run("factrfm", "up", "--port", "1", code=1, PYTHONPATH=str(tmp_path))
        assert not (installed.folder / "home").exists()
    assert f"{name} is {theirs}" in told or f"'{name}': PosixPath('{theirs}')" in told


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        (["service.py"], "Client"),
        (["service/__init__.py", "service/client.py"], "Client"),
        (["worker.py"], "load"),
        (["worker/__init__.py", "worker/estimators.py"], "FactRFMClassifier"),
    ],
)
def test_an_import_that_finds_a_package_of_another_says_so(
    installed: Environment, tmp_path: Path, files: list[str], asked: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    told = installed.run("python", "-c", f"from factrfm import {asked}", code=1, PYTHONPATH=str(tmp_path))
    assert f"ImportError: factrfm needs its own package '{Path(files[0]).parts[0].removesuffix('.py')}'" in told
    assert str(tmp_path / files[0]) in told


def test_another_project_with_files_in_our_packages_is_named(installed: Environment) -> None:
    record = installed.packages / "waiters-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: waiters\nVersion: 1.0\n")
    (record / "RECORD").write_text("service/__init__.py,,\nservice/waiters.py,,\n")
    try:
        told = installed.run("factrfm", "doctor", "--here", code=1)
    finally:
        shutil.rmtree(record)
    assert "BAD packages" in told
    assert "service of waiters" in told


def test_type_checkers_know_the_types(installed: Environment, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    if not (installed.packages / "factrfm").is_dir():
        pytest.skip("type checkers run no code, and that is how an editable project is found")
    options = ["--python-executable", str(installed.folder / "bin/python"), "--cache-dir", str(tmp_path / "cache")]
    told = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert re.search(r'Revealed type is "worker\.contracts\.[\w.]+\.Model"', told), told
    assert "Literal['regression'" in told
    assert 'has no attribute "Klient"' in told
