"""The reference, made from the code when the site is built: nothing of it is written by hand, so nothing drifts."""

import asyncio
import inspect
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_type_hints

import click
import typer
from fastapi import FastAPI
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from typer.testing import CliRunner

from docs.tools import schemas
from service import cli
from service import errors as complaints
from service.app import create_app
from service.client import AsyncClient, Client, errors
from service.client.flows import NetworkOptions, TrainOptions, TuneOptions
from service.commands import session
from service.http import problems
from service.settings import ServiceSettings
from service.upkeep.metrics import ServiceCollector
from worker.contracts import errors as own_errors
from worker.contracts.events import Event
from worker.contracts.requests import BatchGrid, FitRequest, NetworkRequest, PredictRequest, TuneRequest
from worker.telemetry.metrics import GpuMemory

MADE = "\nThis page is made from the code.\n"
WIDTH = 100
SUPPOSED = "Successful Response"
"""What FastAPI says of an answer where a route says nothing."""
TREE = re.compile(r"^[│├└─ ]+(\w+) {2,}(\S.*)$", re.MULTILINE)
LITERAL_PROBLEM = re.compile(r"problem\(request, (\d{3}), \"(\w+)\", (?:detail|\"([^\"]*)\")")


def pages() -> dict[str, str]:
    """Return every page of the reference: its name without folder and suffix, and its Markdown."""
    with tempfile.TemporaryDirectory(prefix="factrfm-docs-") as folder:
        app = create_app(ServiceSettings(home=Path(folder), table_readers=0))
        makers: dict[str, Callable[[], str]] = {
            "http": lambda: _http(app.openapi()),
            "job-specs": _job_specs,
            "events": _events,
            "problems": _problems,
            "settings": _settings,
            "command-line": _command_line,
            "python-client": _python_client,
            "metrics": lambda: _metrics(app),
        }
        return {name: make() for name, make in makers.items()}


def _http(document: dict[str, Any]) -> str:
    lines = ["# HTTP", MADE, "A running service shows the same at `/docs`, and as a document at `/openapi.json`.", ""]
    group = None
    for path, calls in document["paths"].items():
        for method, operation in calls.items():
            if operation["tags"][0] != group:
                group = operation["tags"][0]
                lines += [f"## {group.capitalize()}", ""]
            lines += _operation(method, path, operation)
    lines += ["## Models", "", schemas.sections(document["components"]["schemas"], "###")]
    return "\n".join(lines)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path} {{ #{operation['operationId']} }}\n\n{operation.get('description', '')}\n"
    if operation.get("parameters"):
        yield "| parameter | in | values | meaning |\n|---|---|---|---|"
        for one in operation["parameters"]:
            kind, text = schemas.kind(one["schema"]), schemas.cell(one.get("description", ""))
            yield f"| `{one['name']}` | {one['in']}{', required' if one.get('required') else ''} | {kind} | {text} |"
        yield ""
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        yield f"Body: {_contents(body)}.\n"
    yield "| answer | when | body | headers |\n|---|---|---|---|"
    for status, answer in operation["responses"].items():
        if problems.MEDIA_TYPE in answer.get("content", {}):
            continue
        headers = ", ".join(f"`{name}`" for name in answer.get("headers", {}))
        contents = _contents(answer.get("content", {}))
        when = "" if answer["description"] == SUPPOSED else schemas.cell(answer["description"])
        yield f"| {status} | {when} | {contents} | {headers} |"
    refusals = [
        one for one, answer in operation["responses"].items() if problems.MEDIA_TYPE in answer.get("content", {})
    ]
    if refusals:
        yield f"\n[Problems](problems.md): {', '.join(sorted(refusals))}."
    yield ""


def _contents(content: dict[str, Any]) -> str:
    shown = []
    for media, one in content.items():
        schema = one.get("schema") or {}
        binary = schema.get("format") == "binary" or not schema
        shown.append(f"`{media}`" if binary else f"`{media}`: {schemas.kind(schema)}")
    return "; ".join(shown)


def _job_specs() -> str:
    kinds: list[type[BaseModel]] = [FitRequest, TuneRequest, NetworkRequest, PredictRequest, BatchGrid]
    _, document = models_json_schema([(one, "validation") for one in kinds], ref_template="#/$defs/{model}")
    text = "The bodies of `POST /v1/jobs` by `kind`, and of `POST /v1/batches`. A field that is not known is refused.\n"
    found = document["$defs"]
    first = "\n".join(schemas.section(one.__name__, found.pop(one.__name__)) for one in kinds)
    return f"# Job specs\n{MADE}\n{text}\n{first}\n{schemas.sections(found)}"


def _events() -> str:
    document = TypeAdapter(Event).json_schema(mode="serialization")
    text = (
        "What `GET /v1/jobs/{id}/events` tells, as a list or as a live stream. `seq` counts the events of a job from\n"
        "1; in a stream it is the `id:`, and `Last-Event-ID` resumes after it.\n"
    )
    return f"# Events\n{MADE}\n{text}\n{schemas.sections(document['$defs'])}"


def _problems() -> str:
    meanings = dict(TREE.findall(own_errors.__doc__ or ""))
    rows: dict[tuple[int, str], str] = {}
    for kind in _below(own_errors.FactRFMError):
        if "code" not in vars(kind):
            continue
        status = next((problems.STATUS[one] for one in kind.__mro__ if one in problems.STATUS), 500)
        rows[status, kind.code] = meanings.get(kind.__name__) or inspect.cleandoc(vars(kind)["__doc__"])
    for status, code, text in LITERAL_PROBLEM.findall(inspect.getsource(problems)):
        rows.setdefault((int(status), code), text or "the database cannot be reached right now")
    lines = [f"# Problems\n{MADE}", inspect.cleandoc(PROBLEMS), "", "| code | status | when |", "|---|---|---|"]
    for (status, code), text in sorted(rows.items(), key=lambda row: row[0][1]):
        where = "fails a job" if status == HTTPStatus.INTERNAL_SERVER_ERROR and code != "internal" else str(status)
        lines.append(f"| `{code}` | {where} | {text} |")
    return "\n".join([*lines, "", schemas.section("Problem", problems.Problem.model_json_schema())]).replace(
        "[FieldProblem](#model-fieldproblem)", "pointer and message"
    )


PROBLEMS = """
An answer that is an error is a problem document, `application/problem+json` (RFC 9457). `code` does not change between
versions; `detail` is for people. Errors of HTTP itself have the name of their status as `code`, such as `not_found` and
`method_not_allowed`. What fails a job is the `error.type` of that job. Where an answer has `Retry-After`, another
try may help.
"""


def _settings() -> str:
    table = CliRunner().invoke(cli.app, ["settings", "--markdown"], catch_exceptions=False).output
    return f"# Settings\n{MADE}\nEnvironment variables. `factrfm settings` prints them with their values.\n\n{table}"


def _command_line() -> str:
    root = typer.main.get_command(cli.app)
    lines = [f"# Command line\n{MADE}", "## Exit codes\n", "| code | when |\n|---|---|", "| 0 | all is well |"]
    codes: dict[int, list[str]] = {}
    for kind in (complaints.CannotStart, complaints.WrongSetting, session.Unsuccessful, session.Unfinished):
        codes.setdefault(kind.exit_code, []).append(inspect.cleandoc(kind.__doc__ or ""))
    lines += [f"| {code} | {' '.join(texts)} |" for code, texts in codes.items()]
    return "\n".join([*lines, "", *_helps(root, "factrfm", None)])


def _helps(command: Any, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    for inner, one in getattr(command, "commands", {}).items():
        yield from _helps(one, inner, context)


def _python_client() -> str:
    lines = [f"# Python client\n{MADE}", "`from factrfm import Client, AsyncClient`", ""]
    for kind in (Client, AsyncClient):
        lines += [f"## {kind.__name__}", "", f"```python\n{_signature(kind.__name__, kind)}\n```", "", _prose(kind), ""]
    lines += ["## Methods", "", "Those of `AsyncClient` are the same, to be awaited.", ""]
    for name, method in vars(Client).items():
        if not name.startswith("_") and callable(method):
            lines += [f"### {name}", "", f"```python\n{_signature(name, method)}\n```", "", _prose(method), ""]
    lines += ["## Options", ""]
    for options in (NetworkOptions, TrainOptions, TuneOptions):
        rows = [f"- `{name}`: `{_plain(hint)}`" for name, hint in get_type_hints(options).items()]
        lines += [f"### {options.__name__}", "", inspect.cleandoc(options.__doc__ or ""), "", *rows, ""]
    lines += ["## Errors", ""]
    lines += [f"- `{one.__name__}`: {inspect.cleandoc(one.__doc__ or '')}" for one in _below(errors.ClientError)]
    return "\n".join(lines)


def _signature(name: str, method: Any) -> str:
    signature = inspect.signature(method)
    parameters = [one.replace(annotation=_Shown(one.annotation)) for one in signature.parameters.values()]
    shown = str(
        signature.replace(
            parameters=[one for one in parameters if one.name != "self"], return_annotation=signature.empty
        )
    )
    answer = signature.return_annotation
    return f"{name}{shown}" + ("" if answer in (signature.empty, None) else f" -> {_plain(answer)}")


class _Shown:
    """An annotation that is printed without its modules."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def __repr__(self) -> str:
        return _plain(self._annotation)


def _plain(annotation: Any) -> str:
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    return re.sub(r"<class '|'>|\*|\b(?:\w+\.)+(?=\w)", "", text)


def _prose(thing: Any) -> str:
    """Return a docstring as Markdown; its ``Raises`` as a list."""
    text = inspect.cleandoc(thing.__doc__ or "").replace("``", "`")
    head, mark, raises = text.partition("\nRaises:\n")
    return head + (f"\nRaises:\n\n{re.sub(r'^ +', '- ', raises, flags=re.MULTILINE)}" if mark else "")


def _metrics(app: FastAPI) -> str:
    lines = [f"# Metrics\n{MADE}", "What `/metrics` of an API process and of a worker tell Prometheus.", ""]
    lines += ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    of_modules = [one for module in list(sys.modules.values()) for one in _counted(module)]
    labels = {family.name: _labels(one) for one in of_modules for family in one.describe()}
    for family in asyncio.run(_families(app)):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        named = ", ".join(labels.get(family.name) or _labels(family))
        lines.append(f"| `{name}` | {family.type} | {named} | {schemas.cell(family.documentation)} |")
    return "\n".join(lines)


def _counted(module: Any) -> list[MetricWrapperBase]:
    """Return what a module of ours counts."""
    ours = getattr(module, "__name__", "").startswith(("service.", "worker."))
    return [one for one in vars(module).values() if isinstance(one, MetricWrapperBase)] if ours else []


def _labels(metric: Any) -> tuple[str, ...]:
    # no public way tells the labels of a metric that has not been counted yet
    return tuple(getattr(metric, "_labelnames", ()))


async def _families(app: FastAPI) -> list[Any]:
    async with app.router.lifespan_context(app):
        collectors = [REGISTRY, ServiceCollector(app.state.context), GpuMemory("true")]
        found = [family for one in collectors for family in one.collect()]
    return sorted((one for one in found if one.name.startswith("factrfm_")), key=lambda one: str(one.name))


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
