"""Bits of stored files that turn over, and a reader who compares all that is served meanwhile with what it must be."""

import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks.faulting.clients import Ledger

PAUSE = 0.05
PARTS = {
    "datasets": ("content", "table"),
    "models": ("model", "matrices"),
    "jobs": ("", "result"),
    "results": ("",),
}
"""How files begin that lie below the folders of a storage; "": any file, which is a checkpoint or a report."""


def kinds_of_file() -> list[tuple[str, str]]:
    """Return folder and beginning of the name of every kind of artifact."""
    return [(folder, name) for folder, names in PARTS.items() for name in names]


class Damage:
    """One bit of one file, turned over until ``undo``."""

    def __init__(self, file: Path, place: int, bit: int) -> None:
        self._file = file
        self._place = place
        self._bit = bit
        self.owner = next(part for part in file.parts if part.startswith(("ds_", "job_")))
        """The dataset, or the job that made the file."""

    def do(self) -> None:
        """Turn it over in place, as a disk would.

        Raises:
            OSError: the file is gone.
        """
        with self._file.open("r+b") as file:
            file.seek(self._place)
            self._inode = self._file.stat().st_ino
            [value] = file.read(1)
            file.seek(self._place)
            file.write(bytes([value ^ (1 << self._bit)]))

    def undo(self) -> None:
        """Turn it back, unless the file was replaced or deleted: that mends it too."""
        try:
            if self._file.stat().st_ino == self._inode:
                self.do()
        except OSError:
            return


def choose(storage: Path, rng: random.Random) -> Damage | None:
    """Choose a kind of artifact, a file of that kind and a bit of it; None where there is no such file yet."""
    folder, name = rng.choice(kinds_of_file())
    files = sorted(path for path in (storage / folder).rglob(f"{name}*") if path.is_file() and path.stat().st_size)
    if not files:
        return None
    file = rng.choice(files)
    return Damage(file, rng.randrange(file.stat().st_size), rng.randrange(8))


class Auditor(threading.Thread):
    """Downloads whatever there is, over and over. A whole answer must be what its ETag says, or what it was before.

    ``damaged`` returns whose file is damaged right now: that is asked for first of all.
    """

    def __init__(self, url: str, ledger: Ledger, seed: int, damaged: Callable[[], str | None]) -> None:
        super().__init__(name=f"auditor-{seed}", daemon=True)
        self.over = threading.Event()
        self.served = 0
        self.refused = 0
        self._ledger = ledger
        self._rng = random.Random(seed)
        self._client = httpx.Client(base_url=url, timeout=8)
        self._damaged = damaged
        self._before: dict[str, str] = {}

    def run(self) -> None:
        while not self.over.wait(PAUSE):
            with self._ledger.lock:
                jobs, datasets = list(self._ledger.jobs), list(self._ledger.datasets)
            try:
                for path in self._paths(jobs, datasets):
                    self._check(path)
            except (httpx.HTTPError, ValueError):
                # the service is away, or broke off an answer that it could not vouch for
                self.refused += 1
        self._client.close()

    def _paths(self, jobs: list[str], datasets: list[str]) -> list[str]:
        owner = self._damaged()
        of_dataset = self._rng.random() < 0.4 if owner is None else owner.startswith("ds_")
        if of_dataset and (owner or datasets):
            dataset = f"/v1/datasets/{owner or self._rng.choice(datasets)}"
            return [f"{dataset}/content", f"{dataset}/rows", f"{dataset}/columns/x0/histogram"]
        if not (owner or jobs):
            return []
        job = owner or self._rng.choice(jobs)
        answer = self._client.get(f"/v1/jobs/{job}")
        found = answer.json() if answer.status_code == 200 else {}
        if found.get("state") != "succeeded":
            return []
        paths = [f"/v1/jobs/{job}/result"]
        if found.get("model"):
            model = f"/v1/models/{found['model']}"
            paths += [f"{model}/export", f"{model}/features/matrix", f"{model}/features", f"{model}/card"]
        return paths

    def _check(self, path: str) -> None:
        answer = self._client.get(path)
        if answer.status_code != 200:
            self.refused += answer.status_code == 500
            return
        self.served += 1
        digest = hashlib.sha256(answer.content).hexdigest()
        if answer.headers.get("etag", f'"{digest}"') != f'"{digest}"':
            self._ledger.complain(f"{path} was served with the ETag of other bytes")
        if self._before.setdefault(path, digest) != digest:
            self._ledger.complain(f"{path} was served as something else than before")
