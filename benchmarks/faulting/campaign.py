"""One campaign: start the service, learn what it gives undisturbed, hurt it while clients work, and prove the rest.

``run`` is the whole of it. A seed decides the schedule of faults and what clients ask for.
"""

import heapq
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.faulting import proof
from benchmarks.faulting.clients import FINAL, Asked, Caller, Followers, Ledger, Minder, Submitter, Uploader
from benchmarks.faulting.damage import Auditor
from benchmarks.faulting.injuries import Planned, Surgeon, kinds_for, schedule
from benchmarks.faulting.postgres import find_binaries
from benchmarks.faulting.processes import left_over
from benchmarks.faulting.stage import Stage
from benchmarks.faulting.work import POISON, RECIPES, REFERENCE, ROWS, table

TICK = 0.05
PATIENCE = 12.0
"""A fault whose victim is not up within so many seconds is left out."""
SETTLE_SECONDS = 120.0


@dataclass
class Outcome:
    """What a campaign did and found."""

    seed: int
    dialect: str
    faults: Counter[str]
    findings: proof.Findings
    ledger: Ledger
    retried: int
    audited: int
    connections: int
    orphans: list[str]
    sweep_seconds: float
    left_over: list[str]
    exits: list[str] = field(default_factory=list)
    stubborn: list[str] = field(default_factory=list)
    left_out: int = 0
    seconds: float = 0.0
    settle_seconds: float = 0.0

    @property
    def deleted(self) -> int:
        """Jobs that their clients deleted when they had ended."""
        return sum(one.deleted for one in self.ledger.jobs.values())

    @property
    def wrongs(self) -> list[str]:
        """Everything that is not as it must be."""
        found = self.findings
        return [
            *(f"lost: {one}" for one in found.lost),
            *(f"duplicated: {one}" for one in found.duplicated),
            *(f"wrong: {one}" for one in found.wrong),
            *(f"orphan: {one}" for one in self.orphans),
            *(f"still runs: {one}" for one in self.left_over),
            *(f"did not stop: {one}" for one in self.stubborn),
        ]


def run(
    folder: Path,
    *,
    seed: int,
    faults: int,
    dialect: str,
    pause: float = 1.6,
    most_waiting: int = 5,
    only: list[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run a campaign of ``faults`` faults in ``folder``, which is empty; a fault comes ``pause`` seconds after another.

    ``only``: the kinds of fault to choose from.
    """
    return Campaign(folder, seed, dialect, say).run(faults, pause, most_waiting, only)


def run_seed(
    folder: Path, seed: int, faults: int, pause: float = 1.6, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Run a campaign on SQLite for an odd seed, on PostgreSQL for an even one where that is installed."""
    dialect = "postgresql" if seed % 2 == 0 and find_binaries() is not None else "sqlite"
    return run(folder, seed=seed, faults=faults, dialect=dialect, pause=pause, say=say)


class Campaign:
    """The parts of a campaign, in the order in which they happen."""

    def __init__(self, folder: Path, seed: int, dialect: str, say: Callable[[str], None]) -> None:
        self.stage = Stage(folder, dialect)
        self._seed = seed
        self._say = say
        self._began = time.monotonic()
        self._undo: list[tuple[float, int, Callable[[], bool]]] = []
        self._numbers = itertools.count()
        self._poison_looked_at = 0.0
        self._left_out = 0

    def run(self, faults: int, pause: float, most_waiting: int, only: list[str] | None) -> Outcome:
        stage = self.stage
        try:
            stage.start()
            followers = Followers(stage.url)
            ledger = Ledger()
            datasets, expected = self._undisturbed(ledger, followers)
            self._note(f"undisturbed results of {len(expected)} kinds of job are known")
            submitters = [
                Submitter(stage.url, ledger, followers, datasets, self._seed * 10 + i, most_waiting) for i in range(2)
            ]
            minder = Minder(stage.url, ledger, followers, self._seed)
            uploader = Uploader(stage.url, ledger, self._seed)
            surgeon = Surgeon(stage)
            auditor = Auditor(stage.url, ledger, self._seed, lambda: surgeon.damaged)
            threads = [*submitters, minder, uploader, auditor]
            for thread in threads:
                thread.start()
            kinds = [kind for kind in kinds_for(stage) if only is None or kind in only]
            self._hurt(surgeon, schedule(self._seed, kinds, pause), faults)
            hurt_until = time.monotonic()
            self._note(f"{sum(surgeon.done.values())} faults are over, {len(ledger.jobs)} jobs were accepted")
            self._settle(submitters, uploader, ledger)
            settle = time.monotonic() - hurt_until
            minder.over.set()
            auditor.over.set()
            for thread in threads:
                thread.join(20)
            followers.finish(list(ledger.jobs), 60)
            orphans, sweep_seconds = proof.wait_for_sweep(stage)
            findings = proof.prove(stage, ledger, followers, expected)
            followers.close()
            stubborn = stage.stop()
            return Outcome(
                seed=self._seed,
                dialect=stage.dialect,
                faults=surgeon.done,
                findings=findings,
                ledger=ledger,
                retried=minder.retried,
                audited=auditor.served,
                connections=followers.connections,
                orphans=orphans,
                sweep_seconds=sweep_seconds,
                left_over=left_over(str(stage.home)),
                exits=stage.exits,
                stubborn=stubborn,
                left_out=self._left_out,
                seconds=time.monotonic() - self._began,
                settle_seconds=settle,
            )
        finally:
            stage.close()

    def _undisturbed(self, ledger: Ledger, followers: Followers) -> tuple[dict[str, str], dict[str, str]]:
        """Upload the tables and run every recipe once. Returns ids of tables, and a digest of each recipe's result."""
        stage = self.stage
        caller = Caller(stage.url, ledger, f"first-{self._seed}", threading.Event())
        datasets = {}
        for name in ROWS:
            answer = caller.post("/v1/datasets", content=table(name), headers={"Content-Type": "application/x-npz"})
            assert answer is not None
            datasets[name] = answer.json()["id"]
            ledger.datasets.add(datasets[name])
        middle = next(recipe for recipe in RECIPES if recipe.name == "fit middle")
        order = [middle, *(recipe for recipe in RECIPES if recipe is not middle)]
        asked: dict[str, Asked] = {}
        for recipe in order:
            body = recipe.request(datasets)
            if recipe is middle:
                body["model"] = REFERENCE
            answer = caller.post("/v1/jobs", json=body)
            assert answer is not None
            assert answer.status_code == 202, answer.text
            asked[answer.json()["id"]] = one = Asked(answer.json()["id"], recipe)
            ledger.jobs[one.job_id] = one
            followers.follow(one.job_id)
            if recipe is middle:
                self._ended([one.job_id], 60)
        self._ended(list(asked), 90)
        caller.close()
        expected = {}
        for job_id, one in asked.items():
            row = proof.rows_of(stage, f"SELECT * FROM jobs WHERE id = '{job_id}'")[0]
            assert row["state"] == "succeeded", row["error"]
            models = proof.rows_of(stage, f"SELECT * FROM models WHERE job_id = '{job_id}'")
            expected[one.recipe.name] = proof.fingerprint(stage, one.recipe.table, row, models[0] if models else None)
        return datasets, expected

    def _ended(self, ids: list[str], seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while any(state not in FINAL for one, state in self._states().items() if one in ids):
            if time.monotonic() > ends_at:
                raise RuntimeError(f"the undisturbed jobs did not end within {seconds} s: {self._states()}")
            time.sleep(0.1)

    def _states(self) -> dict[str, str]:
        rows = proof.rows_of(self.stage, "SELECT id, state FROM jobs WHERE parent_id IS NULL")
        return {row["id"]: row["state"] for row in rows}

    def _hurt(self, surgeon: Surgeon, planned: Iterator[Planned], faults: int) -> None:
        due = time.monotonic()
        while sum(surgeon.done.values()) < faults:
            fault = next(planned)
            due = max(due + fault.pause, time.monotonic() - 1.0)
            while time.monotonic() < due:
                self._tick()
            gives_up_at = time.monotonic() + PATIENCE
            while (undo := surgeon.inject(fault)) is None and time.monotonic() < gives_up_at:
                self._tick()
            if undo is None:
                self._left_out += 1
                continue
            self._note(f"{sum(surgeon.done.values())} {fault.kind} ({fault.length:.1f} s)")
            length = 0.3 if "killed" in fault.kind and fault.kind != "database killed" else fault.length
            heapq.heappush(self._undo, (time.monotonic() + length, next(self._numbers), undo))
        while self._undo:
            self._tick()

    def _tick(self) -> None:
        """Undo what is due, start again what ended by itself, and kill whoever works on poison."""
        now = time.monotonic()
        while self._undo and self._undo[0][0] <= now:
            _, number, undo = heapq.heappop(self._undo)
            if not undo():
                heapq.heappush(self._undo, (now + 0.2, number, undo))
                break
        self.stage.revive()
        if now - self._poison_looked_at > 0.15:
            self._poison_looked_at = now
            self._kill_poisoned()
        time.sleep(TICK)

    def _kill_poisoned(self) -> None:
        stage = self.stage
        if not stage.postgres_up:
            return
        query = text("SELECT worker FROM jobs WHERE state = 'running' AND request LIKE :mark")
        if stage.dialect == "postgresql":
            query = text("SELECT worker FROM jobs WHERE state = 'running' AND CAST(request AS TEXT) LIKE :mark")
        mark = f'%"iterations": {POISON.body["spec"]["iterations"]}%'
        try:
            with stage.database.reading() as session:
                victims = set(session.scalars(query, {"mark": mark}))
        except SQLAlchemyError:
            return
        for worker in stage.workers:
            if worker.up and any(str(name).endswith(f"-{worker.pid}") for name in victims):
                child = worker.trainer()
                if child is not None:
                    try:
                        child.kill()
                    except psutil.NoSuchProcess:
                        continue

    def _settle(self, submitters: list[Submitter], uploader: Uploader, ledger: Ledger) -> None:
        """Let everything run again, take no more work, and wait until every accepted job has ended."""
        for submitter in submitters:
            submitter.quiet.set()
        uploader.over.set()
        self.stage.restore()
        ends_at = time.monotonic() + SETTLE_SECONDS
        still: dict[str, str] = {}
        calm_since = time.monotonic()
        while time.monotonic() < ends_at and time.monotonic() - calm_since < 2.0:
            self._tick()
            states = self._states()
            still = {one: states[one] for one in ledger.jobs if states.get(one, "deleted") not in (*FINAL, "deleted")}
            open_cancels = any(one.cancel_after is not None for one in list(ledger.jobs.values()))
            asks = any(submitter.is_alive() for submitter in submitters)
            to_mend = [
                one
                for one in list(ledger.jobs.values())
                if states.get(one.job_id) == "failed" and "failed" not in one.wanted
            ]
            if still or open_cancels or asks or to_mend:
                calm_since = time.monotonic()
        for submitter in submitters:
            submitter.over.set()

    def _note(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {text}")


def print_to_error(text: str) -> None:
    """Say it on the standard error stream."""
    print(text, file=sys.stderr, flush=True)
