"""What is installed is written down: exact versions, and a licence and a reason for each direct dependency."""

import re
import tomllib

import pytest
from support.processes import REPOSITORY

PINS = (REPOSITORY / "constraints.txt").read_text().splitlines()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def _direct() -> set[str]:
    extras = [
        one for name in ("embedded", "onnx", "otel", "s3", "sklearn") for one in PROJECT["optional-dependencies"][name]
    ]
    return {_name(one) for one in [*PROJECT["dependencies"], *extras]}


def test_pins_are_exact() -> None:
    lines = [line for line in PINS if line.strip() and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)] == []


def test_every_direct_dependency_is_pinned() -> None:
    assert _direct() - {_name(line) for line in PINS} == set()


def test_every_direct_dependency_has_a_line_with_its_licence_and_its_reason() -> None:
    text = (REPOSITORY / "docs/security.md").read_text()
    lines = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", text, re.M)
    assert {name for name, licence, why in lines if licence.strip() and why.strip()} == _direct()


def test_every_test_that_the_threat_model_names_is_there() -> None:
    text = (REPOSITORY / "docs/security.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 20
    for path, test in named:
        assert f"def {test}" in (REPOSITORY / path).read_text(), (path, test)


@pytest.mark.parametrize("page", ["Makefile", "README.md", "pyproject.toml", ".ci/run", "docs"])
def test_every_path_of_a_test_that_is_named_is_there(page: str) -> None:
    place = REPOSITORY / page
    texts = [file.read_text() for file in (place.rglob("*.md") if place.is_dir() else [place])]
    named = [path for text in texts for path in re.findall(r"\btests/[\w/.]*\w", text)]
    assert [path for path in named if not (REPOSITORY / path).exists() and not path.endswith("test_")] == []
