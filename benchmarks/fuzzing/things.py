"""One of everything, made over HTTP: datasets, jobs of every kind and in every state, models, a batch."""

import io
import time
from typing import Any

import httpx
import numpy as np

FINAL = ("succeeded", "failed", "cancelled")
SPEC = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", "exponent": 1, "ridge": 0.1}
# the columns of the document's examples
TABLE = "rooms,city,price\n" + "".join(
    f"{index % 7},{('Bern', 'Basel', 'Chur')[index % 3]},{100 * (index % 7) + 50 * (index % 3)}.5\n"
    for index in range(40)
)
PATIENCE = 120.0


def make(client: httpx.Client) -> dict[str, list[str]]:
    """Return for every parameter of a path the values that name something, and which jobs ended and have results.

    What runs or waits is cancelled before.
    """
    _clear(client)
    table = _upload(client, TABLE.encode(), "text/csv")
    matrix = _upload(client, _npz(), "application/x-npz")
    train = {"dataset": table, "target": "price", "spec": SPEC}
    jobs = [
        _done(client, {**train, "kind": "fit", "model": "prices"}),
        _done(client, {**train, "kind": "fit", "model": "kinds", "target": "city"}),
        _done(client, {"kind": "predict", "model": "prices", "dataset": table, "format": "csv"}),
        _done(client, {**train, "kind": "tune", "model": "tuned", "search": {"trials": 2, "space": SPACE}}),
        _done(client, {"kind": "network", "dataset": matrix, "target": "y", "spec": {"steps": 20, "report_every": 10}}),
    ]
    failed = {**train, "kind": "fit", "spec": {"kernel": "exponential", "bandwidth": 1e-9, "iterations": 1}}
    jobs.append(_done(client, failed, "failed"))
    long = {"kind": "network", "dataset": matrix, "target": "y", "spec": {"steps": 10**6, "report_every": 5000}}
    running = _submit(client, long)
    _wait(client, running, ("running",))
    cancelled, queued = _submit(client, {**train, "kind": "fit"}), _submit(client, {**train, "kind": "fit"})
    client.post(f"/v1/jobs/{cancelled}/cancel").raise_for_status()
    batch = client.post("/v1/batches", json=[{**train, "kind": "fit"}]).raise_for_status().json()["id"]
    models = client.get("/v1/models").raise_for_status().json()["items"]
    return {
        "dataset_id": [table, matrix],
        "job_id": [*jobs, running, cancelled, queued],
        "ended": jobs,
        "with_result": jobs[2:5],
        "batch_id": [batch],
        "ref": ["prices", "kinds@1", "tuned", *(model["id"] for model in models)],
    }


SPACE = {"ridge": {"low": 0.01, "high": 1, "log": True}}


def _clear(client: httpx.Client) -> None:
    for state in ("queued", "running"):
        while left := client.get("/v1/jobs", params={"state": state, "limit": 200}).raise_for_status().json()["items"]:
            for job in left:
                client.post(f"/v1/jobs/{job['id']}/cancel")


def _upload(client: httpx.Client, body: bytes, kind: str) -> str:
    answer = client.post("/v1/datasets", content=body, headers={"Content-Type": kind})
    return str(answer.raise_for_status().json()["id"])


def _npz() -> bytes:
    draw, body = np.random.default_rng(0), io.BytesIO()
    np.savez(body, X=draw.normal(size=(40, 3)), y=draw.normal(size=40))
    return body.getvalue()


def _submit(client: httpx.Client, body: dict[str, Any]) -> str:
    return str(client.post("/v1/jobs", json=body).raise_for_status().json()["id"])


def _done(client: httpx.Client, body: dict[str, Any], state: str = "succeeded") -> str:
    job_id = _submit(client, body)
    _wait(client, job_id, (state,))
    return job_id


def _wait(client: httpx.Client, job_id: str, states: tuple[str, ...]) -> None:
    ends_at = time.monotonic() + PATIENCE
    while True:
        job = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        if job["state"] in states:
            return
        if job["state"] in FINAL or time.monotonic() > ends_at:
            raise AssertionError(f"{job_id} is not {states}: {job}")
        time.sleep(0.05)
