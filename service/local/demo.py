"""The demo on a real table, over HTTP: upload, train, predict held-out rows, show the learned features.

The table is the Breast Cancer Wisconsin (Diagnostic) data: W. Wolberg, O. Mangasarian, N. Street, W. Street, UCI
Machine Learning Repository 1995, doi:10.24432/C5DW2B, licence CC BY 4.0. 569 rows, 30 measurements of cell nuclei.
"""

import csv
import io
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from service.errors import CommandError, WrongSetting

TARGET = "diagnosis"
SEED = 0
TEST_SHARE = 0.3
TOP = 8
SPECS: dict[str, dict[str, Any]] = {"FACT-RFM": {}, "plain kernel machine": {"update": "none"}}


class DemoFailed(CommandError):
    """A request of the demo failed. The message holds the answer."""


@dataclass(frozen=True)
class Split:
    """The table as CSV for training, and the held-out rows with their labels."""

    training: bytes
    rows: list[dict[str, float]]
    labels: list[str]


def split_table() -> Split:
    """Return the table with three in ten rows held out, drawn with seed 0."""
    text = resources.files("service").joinpath("demo.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    order = list(range(len(rows)))
    random.Random(SEED).shuffle(order)  # noqa: S311 - a split, not a secret
    held_out = order[: round(TEST_SHARE * len(rows))]
    training = io.StringIO()
    writer = csv.DictWriter(training, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[index] for index in sorted(set(order) - set(held_out)))
    return Split(
        training.getvalue().encode(),
        [{name: float(value) for name, value in rows[i].items() if name != TARGET} for i in held_out],
        [rows[i][TARGET] for i in held_out],
    )


def run_demo(url: str, key: str | None, out: Path, console: Console) -> dict[str, Any]:
    """Run the demo against the service at ``url``, save the heatmap to ``out``, and return the results.

    Raises:
        WrongSetting: the address or the key is malformed.
        DemoFailed: a request or a job failed, or the heatmap cannot be saved.
    """
    _check(url, key)
    url = url.rstrip("/")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            _check_service(client, url)
            result, picture = _run_steps(client, console)
    except httpx.HTTPError as error:
        raise DemoFailed(f"{url} cannot be reached: {error}") from error
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise DemoFailed(f"the heatmap cannot be saved as {out}: {error.strerror}") from error
    console.print(f"The learned feature matrix as a picture: [bold]{out.absolute()}[/]")
    return {**result, "picture": str(out.absolute())}


def check_picture(out: Path) -> None:
    """Check that the heatmap can be saved.

    Raises:
        WrongSetting: ``out`` is not writable.
    """
    if out.is_dir() or not os.access(out if out.exists() else out.absolute().parent, os.W_OK):
        raise WrongSetting(f"--out is {out}: it must be a file that can be written, in a folder that exists")


def _check(url: str, key: str | None) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise WrongSetting(f"--url is {url!r}: {error}; it must look like http://localhost:8000") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise WrongSetting(f"--url is {url!r}: it must look like http://localhost:8000")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise WrongSetting("--key, or FACTRFM_API_KEY, holds characters that no HTTP header can carry")


def _check_service(client: httpx.Client, url: str) -> None:
    """Check that a FACT-RFM service answers and is ready."""
    answer = client.get("/readyz")
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "checks" not in document:
        raise DemoFailed(f"{url} is no FACT-RFM service: it answered {answer.status_code} to GET /readyz")
    missing = [check["detail"] for check in document["checks"].values() if not check["ok"]]
    if missing:
        raise DemoFailed(f"{url} cannot work: {'; '.join(missing)}")


def _run_steps(client: httpx.Client, console: Console) -> tuple[dict[str, Any], bytes]:
    """Run all steps, print the results, and return them and the heatmap."""
    split = split_table()
    dataset = _upload(client, split, console)
    models = _train(client, dataset, console)
    right = _compare(client, models, split, console)
    features = _features(client, models["FACT-RFM"], console)
    path = f"/v1/models/{models['FACT-RFM']}/features/matrix"
    picture = _checked(client.get(path, headers={"Accept": "image/png"})).content
    compared = [
        {"name": name, "model": model, "right": right[name], "rows": len(split.labels)}
        for name, model in models.items()
    ]
    return {"dataset": dataset, "models": compared, "importance": features["importance"]}, picture


def _upload(client: httpx.Client, split: Split, console: Console) -> str:
    answer = client.post(
        "/v1/datasets", params={"name": "breast cancer"}, content=split.training, headers={"Content-Type": "text/csv"}
    )
    dataset = _checked(answer).json()
    console.print(
        f"Uploaded {dataset['rows']} rows and {len(dataset['columns'])} columns as {dataset['id']}; "
        f"{len(split.labels)} rows are held out (seed {SEED})"
    )
    return str(dataset["id"])


def _train(client: httpx.Client, dataset: str, console: Console) -> dict[str, str]:
    """Submit both jobs, wait for them, and return the ids of their models by name."""
    jobs = {}
    for name, spec in SPECS.items():
        body = {"kind": "fit", "dataset": dataset, "target": TARGET, "spec": spec}
        jobs[name] = str(_checked(client.post("/v1/jobs", json=body)).json()["id"])
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} iterations"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    models = {}
    with Progress(*columns, console=console) as progress:
        tasks = {name: progress.add_task(name, total=1, note="queued") for name in jobs}
        for name, job in jobs.items():
            models[name] = _follow(client, job, progress, tasks[name])
    return models


def _follow(client: httpx.Client, job: str, progress: Progress, task: TaskID) -> str:
    state: dict[str, Any] = {}
    for kind, data in _events(client, job):
        if kind == "iteration":
            note = f"validation accuracy {data['metrics'].get('validation_accuracy', float('nan')):.3f}"
            progress.update(task, completed=data["iteration"] + 1, total=data["iterations"] + 1, note=note)
        elif kind == "state":
            state = data
            progress.update(task, note=data["state"])
    if state.get("state") != "succeeded":
        reason = (state.get("error") or {}).get("detail") or state.get("reason") or "no reason was given"
        raise DemoFailed(f"job {job} is {state.get('state', 'unknown')}: {reason}")
    progress.update(task, total=progress.tasks[task].completed)
    return str(state["model"])


def _events(client: httpx.Client, job: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (type, data) of each event until the job ends."""
    headers = {"Accept": "text/event-stream"}
    with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers, timeout=None) as stream:
        if stream.is_error:
            stream.read()
            _checked(stream)
        for line in stream.iter_lines():
            if line.startswith("data:"):
                event = json.loads(line.removeprefix("data:"))
                yield event["type"], event["data"]


def _compare(client: httpx.Client, models: dict[str, str], split: Split, console: Console) -> dict[str, int]:
    """Print and return the number of correct predictions of each model on held-out rows."""
    counts = {}
    table = Table(title="Accuracy on rows that no training saw", title_justify="left")
    table.add_column("model")
    table.add_column("accuracy", justify="right")
    table.add_column("right", justify="right")
    for name, model in models.items():
        answer = _checked(client.post(f"/v1/models/{model}/predict", json={"rows": split.rows})).json()
        right = sum(prediction == truth for prediction, truth in zip(answer["predictions"], split.labels, strict=True))
        counts[name] = right
        table.add_row(name, f"{right / len(split.labels):.4f}", f"{right} of {len(split.labels)}")
    console.print(table)
    return counts


def _features(client: httpx.Client, model: str, console: Console) -> dict[str, Any]:
    """Print and return the most important features of a model."""
    features: dict[str, Any] = _checked(client.get(f"/v1/models/{model}/features")).json()
    table = Table(title=f"Most important features (iteration {features['iteration']})", title_justify="left")
    table.add_column("column")
    table.add_column("share of distance", justify="right")
    for feature in features["importance"][:TOP]:
        table.add_row(feature["feature"], f"{feature['share']:.3f}")
    console.print(table)
    console.print(
        f"Effective rank of M: {features['effective_rank']:.1f} of {len(features['encoded_importance'])} directions"
    )
    if not features["features_learned"]:
        console.print("M is the identity: nothing was learned of the columns. Shares only tell how much each varies.")
    return features


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        content = answer.headers.get("content-type", "")
        detail = answer.json().get("detail", "") if "json" in content else answer.text[:200]
        raise DemoFailed(f"{answer.request.method} {answer.request.url} answered {answer.status_code}: {detail}")
    return answer
