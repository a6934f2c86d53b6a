"""The reference has everything that the code has, each with its meaning."""

import re

import pytest
import typer

from docs.tools import reference
from service.cli import app
from service.http.problems import STATUS
from worker.contracts.search import Search, SearchOption
from worker.contracts.specs import FitSpec, NetworkSpec


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


@pytest.mark.parametrize("kind", [FitSpec, NetworkSpec, Search, SearchOption])
def test_every_option_of_a_spec_is_told_with_its_meaning(pages, kind):
    for name, field in kind.model_fields.items():
        assert field.description, name
        assert f"| `{name}` |" in pages["job-specs"]


def test_every_field_of_a_job_is_told_with_its_meaning(pages):
    assert [line for line in pages["job-specs"].splitlines() if line.endswith("|  |")] == []


def test_ranges_and_defaults_are_those_of_the_code(pages):
    assert "| `ridge` | number, ≥ 0, ≤ 1e+09 or `auto` | `auto` |" in pages["job-specs"]
    assert "| `iterations` | whole number, ≥ 0, ≤ 1000 | `5` |" in pages["job-specs"]


def test_every_call_command_and_problem_is_told(pages):
    calls = re.findall(r"^### (GET|POST|PATCH|DELETE) (\S+)", pages["http"], re.MULTILINE)
    assert len(calls) > 30
    assert ("POST", "/v1/jobs") in calls
    for name in typer.main.get_command(app).commands:
        assert f"## factrfm {name}\n" in pages["command-line"]
    for kind in STATUS:
        assert f"| `{kind.code}` |" in pages["problems"]
    assert re.findall(r"\|\s+\|$", pages["problems"].partition("## Problem")[0], re.MULTILINE) == []


def test_metrics_have_their_labels_before_anything_was_counted(pages):
    assert "| `factrfm_http_requests_total` | counter | method, route, status | Requests answered |" in pages["metrics"]
    assert "| `factrfm_gpu_memory_used_bytes` | gauge | gpu |" in pages["metrics"]


def test_methods_of_the_client_are_told_without_modules(pages):
    assert "matrix(ref: str, iteration: int | None = None) -> FeatureMatrix" in pages["python-client"]
    assert "**options: TrainOptions) -> Model" in pages["python-client"]
