"""The kinds of fault, each a few lines: what is done, and how long it lasts until it is undone.

A schedule is drawn from a seed: which fault, to whom, for how long, after what pause. When its victim is down already
the fault waits until it is up; so the schedule is the same for every run of a seed, the moments are not.
"""

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import redis
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from benchmarks.faulting.damage import choose
from benchmarks.faulting.processes import Program
from benchmarks.faulting.stage import LEASE_SECONDS, Stage
from worker.environment.job_queue import JobQueue

Undo = Callable[[], bool]
"""Tries to end a fault; returns whether it is over."""
PAST_LEASE = (LEASE_SECONDS + 0.5, LEASE_SECONDS + 3.0)
JUMPS = (-7200.0, -60.0, -2.0, 2.0, 60.0, 7200.0)
WEIGHTS = {
    "worker killed": 6,
    "worker asleep past its lease": 5,
    "worker told to stop": 5,
    "training process killed": 10,
    "training process asleep": 6,
    "API killed": 6,
    "API asleep": 4,
    "API told to stop": 4,
    "queue killed, data kept": 4,
    "queue killed, data lost": 4,
    "queue flushed": 7,
    "messages repeated": 9,
    "stale messages": 7,
    "worker cut off from the queue": 4,
    "worker's queue connections silent": 4,
    "worker's clock jumps": 5,
    "API's clock jumps": 5,
    "disk of artifacts full": 4,
    "disk of the home folder full": 3,
    "database killed": 4,
    "worker cut off from the database": 4,
    "worker's database connections silent": 4,
    "bit of a stored file turned over": 8,
}
SERVER_ONLY = ("database killed", "worker cut off from the database", "worker's database connections silent")
MOUNT_ONLY = ("disk of artifacts full", "disk of the home folder full")


@dataclass(frozen=True)
class Planned:
    """One line of a schedule: ``pause`` seconds after the one before, for ``length`` seconds; ``draw`` chooses whom."""

    kind: str
    pause: float
    length: float
    draw: int


def schedule(seed: int, kinds: list[str], pause: float) -> Iterator[Planned]:
    """Draw faults without end. Every kind comes once before any comes by its weight."""
    rng = random.Random(seed)
    first = rng.sample(kinds, len(kinds))
    while True:
        kind = first.pop() if first else rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        length = rng.uniform(*PAST_LEASE) if "asleep past" in kind else rng.uniform(0.2, LEASE_SECONDS + 2)
        yield Planned(kind, rng.expovariate(1 / pause), length, rng.randrange(2**30))


def kinds_for(stage: Stage) -> list[str]:
    """Return the kinds that can be injected on this machine, with this database."""
    left_out = () if stage.postgres is not None else SERVER_ONLY
    if not all(disk.mounted for disk in stage.disks.values()):
        left_out += MOUNT_ONLY
    return [kind for kind in WEIGHTS if kind not in left_out]


class Surgeon:
    """Injects faults, and counts them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.done: Counter[str] = Counter()
        self.busy: set[str] = set()
        """Disks, clocks and connections that a fault has in hand."""
        self.damaged: str | None = None
        """The dataset or the job one of whose files is damaged."""

    def inject(self, planned: Planned) -> Undo | None:
        """Inject a fault. Returns what ends it, or None where its victim is not up yet."""
        kind, stage = planned.kind, self._stage
        worker = stage.workers[planned.draw % len(stage.workers)]
        undo: Undo | None
        if kind == "training process killed":
            undo = self._child(lambda child: child.kill(), None)
        elif kind == "training process asleep":
            undo = self._child(lambda child: child.suspend(), lambda child: child.resume())
        elif kind.startswith(("worker killed", "API killed", "queue killed")):
            lost = kind.endswith("lost")
            undo = self._kill({"w": worker, "A": stage.api, "q": stage.queue}[kind[0]], lost=lost)
        elif "asleep" in kind:
            undo = self._sleep(worker if kind.startswith("worker") else stage.api)
        elif "told to stop" in kind:
            undo = self._end(worker if kind.startswith("worker") else stage.api)
        elif "clock" in kind:
            name = worker.name if kind.startswith("worker") else "api"
            undo = self._move_clock(name, JUMPS[planned.draw % len(JUMPS)])
        elif kind.startswith("bit"):
            undo = self._damage(planned.draw)
        elif kind.startswith("disk"):
            undo = self._fill("artifacts" if "artifacts" in kind else "database")
        elif kind == "database killed":
            undo = self._kill_database()
        elif kind in ("queue flushed", "messages repeated", "stale messages"):
            undo = self._meddle(kind, planned.draw)
        else:
            undo = self._break("queue" if "queue" in kind else "database", silent="silent" in kind)
        if undo is not None:
            self.done[kind] += 1
        return undo

    def _kill(self, program: Program, *, lost: bool) -> Undo | None:
        if not program.up:
            return None
        program.ending = True
        program.kill()
        if lost:
            self._stage.forget_queue()

        def again() -> bool:
            program.start()
            return True

        return again

    def _sleep(self, program: Program) -> Undo | None:
        if not program.up:
            return None
        program.sleep()

        def wake() -> bool:
            program.wake()
            return True

        return wake

    def _end(self, program: Program) -> Undo | None:
        if not program.up:
            return None
        program.ending = True
        program.signal(signal.SIGTERM)

        def again() -> bool:
            if program.alive():
                return False
            program.start()
            return True

        return again

    def _child(
        self, hurt: Callable[[psutil.Process], None], heal: Callable[[psutil.Process], None] | None
    ) -> Undo | None:
        for worker in self._stage.workers:
            child = worker.trainer() if worker.up else None
            if child is not None and str(child.pid) not in self.busy:
                break
        else:
            return None
        try:
            hurt(child)
        except psutil.NoSuchProcess:
            return None
        self.busy.add(str(child.pid))

        def undo() -> bool:
            self.busy.discard(str(child.pid))
            try:
                if heal is not None:
                    heal(child)
            except psutil.NoSuchProcess:
                pass
            return True

        return undo

    def _move_clock(self, name: str, seconds: float) -> Undo | None:
        if name in self.busy:
            return None
        clock = self._stage.clocks[name]
        self._stage.set_clock(clock, seconds)
        return self._hold(name, lambda: self._stage.set_clock(clock, 0))

    def _fill(self, name: str) -> Undo | None:
        disk = self._stage.disks[name]
        if f"disk {name}" in self.busy:
            return None
        disk.fill()
        return self._hold(f"disk {name}", disk.empty)

    def _damage(self, draw: int) -> Undo | None:
        damage = choose(self._stage.storage, random.Random(draw))
        if damage is None or "files" in self.busy:
            return None
        try:
            damage.do()
        except OSError:
            return None
        self.damaged = damage.owner

        def undo() -> None:
            damage.undo()
            self.damaged = None

        return self._hold("files", undo)

    def _break(self, name: str, *, silent: bool) -> Undo | None:
        proxy = self._stage.proxies[name]
        if f"proxy {name}" in self.busy:
            return None
        if silent:
            proxy.stall()
        else:
            proxy.cut()
        return self._hold(f"proxy {name}", proxy.mend)

    def _hold(self, name: str, undo: Callable[[], None]) -> Undo:
        self.busy.add(name)

        def end() -> bool:
            undo()
            self.busy.discard(name)
            return True

        return end

    def _kill_database(self) -> Undo | None:
        stage, server = self._stage, self._stage.postgres
        assert server is not None
        if not stage.postgres_up:
            return None
        server.halt()
        stage.postgres_up = False

        def again() -> bool:
            server.start()
            stage.postgres_up = True
            return True

        return again

    def _meddle(self, kind: str, draw: int) -> Undo | None:
        stage = self._stage
        if not stage.queue.up or not stage.postgres_up:
            return None
        try:
            if kind == "queue flushed":
                with stage.redis() as client:
                    client.flushall()
            else:
                self._push(kind, random.Random(draw))
        except (redis.RedisError, OperationalError):
            return None
        return lambda: True

    def _push(self, kind: str, rng: random.Random) -> None:
        """Repeat messages of jobs that wait or run; or send those of jobs that ended or never were."""
        states = "('queued', 'running')" if kind == "messages repeated" else "('succeeded', 'failed', 'cancelled')"
        with self._stage.database.reading() as session:
            ids = list(session.scalars(text(f"SELECT id FROM jobs WHERE state IN {states} ORDER BY id DESC LIMIT 20")))
        queue = JobQueue(self._stage.queue_url, "factrfm")
        ids += [] if kind == "messages repeated" else ["job_never", "not an id"]
        for job_id in rng.sample(ids, min(3, len(ids))):
            for _ in range(3):
                queue.send(job_id)
        queue.close()
