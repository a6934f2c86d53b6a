"""What must hold when all is quiet again, read from the database and the artifacts, not from what the service says."""

import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import text

from benchmarks.faulting.clients import FINAL, Asked, Followers, Ledger
from benchmarks.faulting.stage import ORPHAN_SECONDS, Stage
from benchmarks.faulting.work import POISON, probe
from worker.contracts.artifacts import ArtifactRef
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack


@dataclass
class Findings:
    """Sentences about what is not as it must be; empty lists are the proof."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    poison: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    part_kinds: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    compared: int = 0
    events: int = 0


def prove(stage: Stage, ledger: Ledger, followers: Followers, expected: dict[str, str]) -> Findings:
    """Compare rows, models, results and events with what clients were told and with the undisturbed run."""
    found = Findings()
    jobs = {row["id"]: row for row in rows_of(stage, "SELECT * FROM jobs WHERE parent_id IS NULL")}
    for part in rows_of(stage, "SELECT id, kind, state FROM jobs WHERE parent_id IS NOT NULL"):
        found.parts[part["state"]] += 1
        found.part_kinds[part["kind"]] += part["state"] == "succeeded"
        if part["state"] not in FINAL:
            found.lost.append(f"the part {part['id']} is {part['state']} at the end")
    models: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(stage, "SELECT * FROM models"):
        models.setdefault(row["job_id"], []).append(row)
    for job_id in jobs.keys() - ledger.jobs.keys():
        found.duplicated.append(f"{job_id} exists and was accepted for nobody")
    for job_id, asked in ledger.jobs.items():
        row = jobs.get(job_id)
        if row is None:
            if not asked.deleted:
                found.lost.append(f"{job_id} ({asked.recipe.name}) was accepted and is not there")
            continue
        found.states[row["state"]] += 1
        found.attempts += row["attempt"]
        if asked.recipe is POISON:
            found.poison[row["state"]] += 1
        _prove_job(stage, found, asked, row, models.get(job_id, []), expected)
    for row in rows_of(stage, "SELECT sha256, COUNT(*) AS times FROM datasets GROUP BY sha256 HAVING COUNT(*) > 1"):
        found.duplicated.append(f"the dataset {row['sha256']} is there {row['times']} times")
    there = {row["id"] for row in rows_of(stage, "SELECT id FROM datasets")}
    found.lost += [f"the dataset {one} was accepted and is not there" for one in ledger.datasets - there]
    _prove_events(stage, found, followers, jobs)
    found.wrong += ledger.complaints
    return found


def _prove_job(
    stage: Stage,
    found: Findings,
    asked: Asked,
    row: dict[str, Any],
    models: list[dict[str, Any]],
    expected: dict[str, str],
) -> None:
    name = f"{row['id']} ({asked.recipe.name})"
    if row["state"] not in FINAL:
        found.lost.append(f"{name} is {row['state']}")
        return
    if row["state"] not in asked.wanted:
        found.wrong.append(f"{name} is {row['state']} and should be {' or '.join(asked.wanted)}: {row['error']}")
    makes_model = asked.recipe.body["kind"] in ("fit", "tune") and row["state"] == "succeeded"
    if len(models) != int(makes_model):
        bad = found.duplicated if len(models) > int(makes_model) else found.lost
        bad.append(f"{name} is {row['state']} and has {len(models)} models")
    elif row["state"] == "succeeded":
        digest = fingerprint(stage, asked.recipe.table, row, models[0] if models else None)
        found.compared += 1
        if digest != expected[asked.recipe.name]:
            found.wrong.append(f"{name} gives another result than undisturbed")


def fingerprint(stage: Stage, table: str, job: dict[str, Any], model: dict[str, Any] | None) -> str:
    """Return a digest of what a job made: a model's predictions to the last bit, a file's bytes, a report's figures."""
    if model is not None:
        served = ServedModel.from_tensors(*unpack(stage.artifacts.read_bytes(_ref(model["model"]))))
        rows = probe(table)
        columns = {column.name: pa.array(rows[:, index]) for index, column in enumerate(served.features)}
        return hashlib.sha256(np.asarray(served.predict(pa.table(columns)).predictions).tobytes()).hexdigest()
    result = job["result"] if isinstance(job["result"], dict) else json.loads(job["result"])
    content = stage.artifacts.read_bytes(_ref(result["result"]))
    if job["kind"] == "network":
        report = json.loads(content)
        content = json.dumps(_without_times(report), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(one) for name, one in value.items() if not name.endswith("seconds")}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def _prove_events(stage: Stage, found: Findings, followers: Followers, jobs: dict[str, dict[str, Any]]) -> None:
    stored: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(stage, "SELECT job_id, seq, type, data FROM events ORDER BY job_id, seq"):
        data = row["data"] if isinstance(row["data"], dict) else json.loads(row["data"])
        stored.setdefault(row["job_id"], []).append({"seq": row["seq"], "type": row["type"], "data": data})
    for job_id, row in jobs.items():
        events = stored.get(job_id, [])
        found.events += len(events)
        if [event["seq"] for event in events] != list(range(1, row["last_seq"] + 1)):
            found.lost.append(f"the events of {job_id} are not 1 to {row['last_seq']}")
        seen = [{key: event[key] for key in ("seq", "type", "data")} for event in followers.seen.get(job_id, [])]
        if [event["seq"] for event in seen] != [event["seq"] for event in events]:
            numbers = [event["seq"] for event in seen]
            bad = found.duplicated if len(set(numbers)) < len(numbers) else found.lost
            bad.append(f"a follower of {job_id} saw {numbers} of {len(events)} events")
        elif seen != events:
            found.wrong.append(f"a follower of {job_id} saw other events than are stored")
        for twice in _reported_twice(events):
            found.duplicated.append(f"{job_id} {twice}")


def _reported_twice(events: list[dict[str, Any]]) -> list[str]:
    """Return the iterations, trials and steps that one attempt reported twice."""
    bad, here = [], set()
    for event in events:
        if event["type"] == "state":
            here = set()
            continue
        data = event["data"]
        if event["type"] == "log" and data["message"].startswith("starting afresh"):
            here = set()
        mark = (event["type"], data.get("fold"), data.get("iteration"), data.get("trial"), data.get("step"))
        if event["type"] != "log" and mark in here:
            bad.append(f"reports {mark} twice in one attempt")
        here.add(mark)
    return bad


def unnamed_files(stage: Stage) -> list[str]:
    """Return what lies in storage, or in the folder of uploads, and is named by no row."""
    named: set[str] = set()
    for table, columns in (("datasets", 'content, "table"'), ("models", "model, matrices")):
        for row in rows_of(stage, f"SELECT {columns} FROM {table}"):
            named |= _keys(list(row.values()))
    # a job that succeeded does not need what its parts made
    needed = "SELECT part.result FROM jobs part LEFT JOIN jobs job ON part.parent_id = job.id"
    for row in rows_of(stage, f"{needed} WHERE part.parent_id IS NULL OR job.state <> 'succeeded'"):
        named |= _keys(list(row.values()))
    # a job that succeeded goes on from nowhere
    for row in rows_of(stage, "SELECT checkpoint FROM jobs WHERE state <> 'succeeded'"):
        named |= _keys(list(row.values()))
    found = [str(path.relative_to(stage.storage)) for path in stage.storage.rglob("*") if path.is_file()]
    uploads = stage.home / "tmp"
    return [path for path in found if path not in named] + [
        str(path.relative_to(stage.home)) for path in (uploads.rglob("*") if uploads.exists() else ())
    ]


def wait_for_sweep(stage: Stage, seconds: float = 12 * ORPHAN_SECONDS) -> tuple[list[str], float]:
    """Wait until no file is left that no row names. Returns those that are left, and how long it took."""
    began = time.monotonic()
    while (left := unnamed_files(stage)) and time.monotonic() - began < seconds:
        time.sleep(0.5)
    return left, time.monotonic() - began


def _keys(value: Any) -> set[str]:
    """Return every ``key`` in a stored document."""
    if isinstance(value, str):
        return _keys(json.loads(value)) if value.startswith(("{", "[")) else set()
    if isinstance(value, dict):
        own = {value["key"]} if isinstance(value.get("key"), str) else set()
        return own.union(*(_keys(one) for one in value.values()))
    return set().union(*(_keys(one) for one in value)) if isinstance(value, list) else set()


def _ref(value: Any) -> ArtifactRef:
    return ArtifactRef.model_validate(json.loads(value) if isinstance(value, str) else value)


def rows_of(stage: Stage, query: str) -> list[dict[str, Any]]:
    """Return what a query finds, past the service and its proxies."""
    with stage.database.reading() as session:
        return [dict(row) for row in session.execute(text(query)).mappings()]
