"""The README is true: its commands run, and its table of settings is the program's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import REPOSITORY, System

README = (REPOSITORY / "README.md").read_text()


def test_settings_table_is_what_the_program_prints():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACTRFM_")}
    program = [sys.executable, "-m", "service.cli", "settings", "--markdown"]
    printed = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    assert printed.stdout.strip() in README


def test_curl_examples_work_when_pasted(shared_system: System, tmp_path: Path) -> None:
    script = re.search(r"## By hand\n.*?```sh\n(.*?)```", README, re.DOTALL)
    assert script is not None
    commands = script[1].replace("localhost:8000", f"127.0.0.1:{shared_system.port}")
    (tmp_path / "service").symlink_to(REPOSITORY / "service")
    run = subprocess.run(["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "succeeded" in run.stdout
    assert '"predictions":' in run.stdout
    assert '"importance":' in run.stdout
    assert '"total":4' in run.stdout
    assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("target", ["demo", "serve", "test", "lint", "docs", "bench"])
def test_makefile_has_the_target(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, check=True, capture_output=True)


def test_python_example_works_when_pasted(tmp_path: Path) -> None:
    script = re.search(r"## In Python\n.*?```python\n(.*?)```", README, re.DOTALL)
    assert script is not None
    program = [sys.executable, "-c", script[1]]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.splitlines()[0]) > 0.95
    assert (tmp_path / "cells.safetensors").stat().st_size > 0


def test_terminal_examples_work_when_pasted(shared_system: System, tmp_path: Path) -> None:
    part = README.partition("## From a terminal\n")[2].partition("\n## ")[0]
    commands = re.search(r"```sh\n(.*?)```", part, re.DOTALL)
    assert commands is not None
    (tmp_path / "service").symlink_to(REPOSITORY / "service")
    environment = {
        **os.environ,
        "FACTRFM_URL": f"http://127.0.0.1:{shared_system.port}",
        "FACTRFM_HOME": str(shared_system.home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    script = ["bash", "-euc", commands[1]]
    typed = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 570
