"""Tables and jobs to show: a service with something in it."""

import random
import time
from typing import Any

import httpx

from service.local.demo import split_table

ROWS = 900
CITIES = {"Bern": 40, "Basel": 25, "Chur": 0, "Zürich": 110, "Genève": 90}


def houses(rows: int = ROWS, seed: int = 0) -> bytes:
    """Return made-up houses as CSV. The price comes of area, city, age, and of area and garden together."""
    draw = random.Random(seed)
    lines = ["area,rooms,floor,age,distance,garden,lift,city,colour,price"]
    for _ in range(rows):
        area = draw.lognormvariate(4.6, 0.35)
        rooms = max(1, round(area / 26 + draw.gauss(0, 0.6)))
        floor, age, distance = draw.randrange(0, 7), draw.expovariate(1 / 28), draw.uniform(0.2, 25)
        garden, lift = draw.random() < 0.4, draw.random() < 0.5
        city, colour = draw.choice(list(CITIES)), draw.choice(["white", "grey", "yellow", "red"])
        price = 4.1 * area * (1.35 if garden else 1) + CITIES[city] - 1.4 * min(age, 60) - 3.2 * distance
        price += 9 * floor * lift + draw.gauss(0, 12)
        missing = draw.random() < 0.04
        lines.append(
            f"{area:.1f},{rooms},{floor},{'' if missing else f'{age:.0f}'},{distance:.1f},{str(garden).lower()},"
            f"{str(lift).lower()},{city},{colour},{price:.1f}"
        )
    return ("\n".join(lines) + "\n").encode()


def fill(client: httpx.Client) -> dict[str, str]:
    """Upload two tables and train on them. Returns the ids of what came of it."""
    table = _upload(client, "houses.csv", houses())
    cells = _upload(client, "cells.csv", split_table().training)
    made = {"houses": table, "cells": cells}
    plain = {"encoding": "plain", "feature_matrix": "full", "exponent": 1.0}
    grid = {"spec.ridge": [0.01, 0.1, 1], "spec.kernel": ["laplace", "gaussian"]}
    base = {"kind": "fit", "dataset": table, "target": "price", "model": "grid", "spec": {"iterations": 1, **plain}}
    base["spec"].pop("exponent")
    made["batch"] = _checked(client.post("/v1/batches", json={"base": base, "grid": grid})).json()["id"]
    for name, update in (("fact", "fact"), ("nfa", "nfa")):
        spec = {"update": update, "iterations": 8, "refit": False, **plain}
        made[name] = _done(
            client, {"kind": "fit", "dataset": table, "target": "price", "model": "prices", "spec": spec}
        )
    made["cancer"] = _done(client, {"kind": "fit", "dataset": cells, "target": "diagnosis", "model": "cells"})
    tune = {"kind": "tune", "dataset": table, "target": "price", "model": "tuned", "search": {"trials": 12}}
    made["tune"] = _done(client, {**tune, "spec": {"iterations": 3}})
    network = {"hidden": [32, 32], "steps": 600, "report_every": 50}
    made["network"] = _done(client, {"kind": "network", "dataset": table, "target": "price", "spec": network})
    return made


def _upload(client: httpx.Client, name: str, content: bytes) -> str:
    headers = {"Content-Type": "text/csv"}
    return str(
        _checked(client.post("/v1/datasets", params={"name": name}, content=content, headers=headers)).json()["id"]
    )


def _done(client: httpx.Client, body: dict[str, Any]) -> str:
    """Run a job to its end; return its model's id, or its own where it makes none."""
    job = _checked(client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})).json()
    while job["state"] in ("queued", "running"):
        time.sleep(0.5)
        job = _checked(client.get(f"/v1/jobs/{job['id']}")).json()
    if job["state"] != "succeeded":
        raise RuntimeError(f"{job['id']} is {job['state']}: {job['error']}")
    return str(job["model"] if body["kind"] == "fit" else job["id"])


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise RuntimeError(f"{answer.request.url} answered {answer.status_code}: {answer.text}")
    return answer
