"""Every route, called with another project's key, with a key that may only read, without a key and with a wrong one.

The routes are those of the OpenAPI document. One project has a dataset, a job, a batch and a model; a second project's
key asks for them by their ids.
"""

import argparse
import io
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from benchmarks.report import Cell, Report
from service.app import create_app
from service.runtime.context import Context
from service.settings import ServiceSettings
from worker.contracts.keys import Scope
from worker.contracts.messages import FitOrder
from worker.runs.fit import fit
from worker.shell.orders import build_order
from worker.store import jobs, keys
from worker.store.database import Database
from worker.telemetry.logs import configure_logging
from worker.training.machine import Machine

PARAMETER = re.compile(r"\{(\w+)\}")
COLUMNS = ("call", "another project", "read only", "no key", "wrong key")
LISTS = ("/v1/datasets", "/v1/jobs", "/v1/models", "/v1/uploads")
CSV = "a,b,y\n" + "".join(f"{i % 5},{i % 3},{i}\n" for i in range(40))


def add_options(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    configure_logging("error", "text")
    with tempfile.TemporaryDirectory(prefix="factrfm-isolation-") as folder:
        settings = ServiceSettings(
            home=Path(folder) / "home", redis_url=f"redis+socket://{folder}/nobody.sock", reconcile_seconds=3600
        )
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            walked = walk(client, client.app.state.context.database)  # type: ignore[attr-defined]
    report.table("Routes", COLUMNS, [list(row) for row in walked])
    report.note(
        "404: the thing is not there for this project. 422: a body that names another project's dataset names nothing. "
        "'empty': a list of none. A call that makes something of its own (an upload) is not about another's things, "
        "and succeeds."
    )


def walk(client: TestClient, database: Database) -> list[list[Cell]]:
    """Return for every guarded operation what each kind of caller gets: a status, or 'empty' for an empty list."""
    owner = _key(database, "owner", [Scope.READ, Scope.WRITE])
    things = _fill(client, database, owner)
    callers = {
        "another project": _key(database, "stranger", list(Scope)),
        "read only": _key(database, "owner", [Scope.READ]),
        "no key": {},
        "wrong key": {"Authorization": "Bearer key_wrong.secret"},
    }
    rows: list[list[Cell]] = []
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        if not path.startswith(("/v1", "/v2", "/metrics")):
            continue
        for method in sorted(operations):
            found = [_answer(client, method, path, things, headers) for headers in callers.values()]
            rows.append([f"{method.upper()} {path}", *found])
    left = [len(client.get(path, headers=owner).json()["items"]) for path in LISTS]
    queued = client.get(f"/v1/jobs/{things['job_id']}", headers=owner).json()
    if left != [1, 2, 1, 1] or queued["state"] != "queued" or queued["cancel_requested"]:
        raise AssertionError(f"a call that was refused changed something: {left}, {queued}")
    return rows


def _answer(client: TestClient, method: str, path: str, things: Mapping[str, str], headers: Mapping[str, str]) -> Cell:
    place = PARAMETER.sub(lambda found: things[found[1]], path)
    body: dict[str, Any] = {}
    if method == "post" and path == "/v1/jobs":
        body = {"json": {"kind": "fit", "dataset": things["dataset_id"], "target": "y"}}
    elif method == "post" and path == "/v1/batches":
        body = {"json": [{"kind": "fit", "dataset": things["dataset_id"], "target": "y"}]}
    elif method == "post" and path == "/v1/datasets":
        body = {"content": CSV + "1,1,1\n", "headers": {"Content-Type": "text/csv"}}
    elif method == "post" and path == "/v1/uploads":
        body = {"json": {"filename": "theirs.csv", "bytes": 5}}
    elif method == "put":
        body = {"content": b"a\n1\n2"}
    elif method == "post" and path.endswith(("/predict", "/explain")):
        body = {"json": {"columns": ["x0", "x1", "x2"], "data": [[1, 2, 3]]}}
    elif method == "patch":
        body = {"json": {"description": "ours now"}}
    elif path.endswith("/compare"):
        body = {"params": {"with": things["ref"]}}
    elif method == "post" and path.endswith("/infer"):
        body = {"json": {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}}
    body["headers"] = {**body.get("headers", {}), **headers}
    answer = client.request(method, place, **body)
    if answer.status_code == 200 and path in LISTS and method == "get":
        return "empty" if answer.json()["items"] == [] else 200
    return answer.status_code


def _fill(client: TestClient, database: Database, owner: Mapping[str, str]) -> dict[str, str]:
    """Make one of everything. Returns the values of the parameters of paths."""
    upload = io.BytesIO()
    rng = np.random.default_rng(0)
    np.savez(upload, X=rng.normal(size=(40, 3)), y=rng.normal(size=40))
    dataset = client.post(
        "/v1/datasets", content=upload.getvalue(), headers={**owner, "Content-Type": "application/x-npz"}
    ).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "ours", "spec": {"iterations": 1}}
    _train(client, database, client.post("/v1/jobs", json=body, headers=owner).json()["id"])
    batch = client.post("/v1/batches", json=[body], headers=owner).json()
    begun = client.post("/v1/uploads", json={"filename": "ours.csv", "bytes": 5}, headers=owner).json()
    return {
        "dataset_id": dataset,
        "job_id": batch["jobs"][0].rsplit("/", 1)[1],
        "batch_id": batch["id"],
        "upload_id": begun["id"],
        "number": "1",
        "ref": "ours@1",
        "name": "ours",
        "version": "1",
        "column": "x0",
    }


def _train(client: TestClient, database: Database, job_id: str) -> None:
    """Do the job's work here, as a worker would."""
    context: Context = client.app.state.context  # type: ignore[attr-defined]
    claim = jobs.claim(database, job_id, "isolation", 600, context.now())
    assert claim is not None
    order = build_order(claim)
    assert isinstance(order, FitOrder)
    done = fit(order, context.artifacts, Machine.find("cpu", None), lambda _: None)
    assert jobs.succeed_fit(database, job_id, claim.token, done, context.now()) is not None


def _key(database: Database, project: str, scopes: list[Scope]) -> dict[str, str]:
    _, text = keys.create(database, project=project, name="isolation", scopes=scopes, now=datetime.now(UTC))
    return {"Authorization": f"Bearer {text}"}
