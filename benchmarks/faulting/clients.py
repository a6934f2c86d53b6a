"""Clients as they ought to be: every POST has an Idempotency-Key and is repeated until it is answered, and every job
is followed over server-sent events, reconnecting with the number of the last event seen."""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.faulting.work import POISON, RECIPES, Recipe

FINAL = ("succeeded", "failed", "cancelled")
MENDABLE = ("worker_lost", "storage_full", "storage_unavailable", "artifact_corrupt")
"""Why a job may fail that is none of its own fault: its client asks for it again."""
PAUSE = 0.2


@dataclass
class Asked:
    """A job that was accepted. ``wanted``: the states in which it may rightly end."""

    job_id: str
    recipe: Recipe
    wanted: tuple[str, ...] = ("succeeded",)
    cancel_after: float | None = None
    accepted_at: float = 0.0
    deleted: bool = False


@dataclass
class Ledger:
    """What the clients were told. Threads share it."""

    jobs: dict[str, Asked] = field(default_factory=dict)
    datasets: set[str] = field(default_factory=set)
    requests: int = 0
    repeated: int = 0
    replayed: int = 0
    complaints: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complain(self, text: str) -> None:
        with self.lock:
            self.complaints.append(text)


class Caller:
    """Sends requests, and repeats each until it has an answer that another try would not change."""

    def __init__(self, url: str, ledger: Ledger, name: str, over: threading.Event) -> None:
        self._client = httpx.Client(base_url=url, timeout=8)
        self._ledger = ledger
        self._name = name
        self._over = over
        self._count = 0

    def post(self, path: str, *, again: bool = False, **body: Any) -> httpx.Response | None:
        """Return the answer; None when the campaign was over first. ``again``: repeat it though it was answered."""
        self._count += 1
        key = f"{self._name}-{self._count}"
        answer = self._until_answered("POST", path, {"Idempotency-Key": key}, body)
        if again and answer is not None:
            second = self._until_answered("POST", path, {"Idempotency-Key": key}, body)
            if second is not None and second.json().get("id") != answer.json().get("id"):
                self._ledger.complain(f"the repeated {path} made {second.text[:100]} beside {answer.text[:100]}")
        return answer

    def delete(self, path: str) -> httpx.Response | None:
        return self._until_answered("DELETE", path, {}, {})

    def get(self, path: str) -> httpx.Response | None:
        return self._until_answered("GET", path, {}, {})

    def close(self) -> None:
        self._client.close()

    def _until_answered(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any]
    ) -> httpx.Response | None:
        ledger = self._ledger
        tries = 0
        while not self._over.is_set():
            tries += 1
            try:
                answer = self._client.request(
                    method,
                    path,
                    headers={**body.get("headers", {}), **headers},
                    **{name: value for name, value in body.items() if name != "headers"},
                )
            except httpx.TransportError:
                self._over.wait(PAUSE)
                continue
            with ledger.lock:
                ledger.requests += 1
                ledger.repeated += tries > 1
                ledger.replayed += "Idempotency-Replayed" in answer.headers
                ledger.statuses[answer.status_code] += 1
            waits = answer.status_code in (429, 503, 507) or (
                answer.status_code == 409 and answer.json().get("code") == "request_in_flight"
            )
            if not waits:
                if answer.status_code >= 500:
                    ledger.complain(f"{method} {path} answered {answer.status_code}: {answer.text[:200]}")
                return answer
            self._over.wait(PAUSE)
        return None


class Followers:
    """Follows jobs in a thread of its own. ``seen`` holds for each job the events in the order they came."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="followers", daemon=True)
        self._thread.start()
        self._client = httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(8, read=6), limits=httpx.Limits())

    def follow(self, job_id: str) -> None:
        """Follow a job from the event after the last one seen, until the stream ends at a final state."""
        self._loop.call_soon_threadsafe(self._begin, job_id)

    def finish(self, job_ids: list[str], seconds: float) -> None:
        """Follow every job once more to its end."""

        async def rest() -> None:
            running = [task for task in self._tasks.values() if not task.done()]
            if running:
                await asyncio.wait(running, timeout=seconds)
            gate = asyncio.Semaphore(8)

            async def last(job_id: str) -> None:
                async with gate:
                    await asyncio.wait_for(self._follow(job_id), seconds)

            await asyncio.gather(*(last(job_id) for job_id in job_ids))

        asyncio.run_coroutine_threadsafe(rest(), self._loop).result(2 * seconds)

    def close(self) -> None:
        async def end() -> None:
            tasks = [task for task in self._tasks.values() if not task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.aclose()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begin(self, job_id: str) -> None:
        task = self._tasks.get(job_id)
        if task is None or task.done():
            self._tasks[job_id] = self._loop.create_task(self._follow(job_id))

    async def _follow(self, job_id: str) -> None:
        while not await self._connect(job_id, self.seen.setdefault(job_id, [])):
            await asyncio.sleep(PAUSE)

    async def _connect(self, job_id: str, seen: list[dict[str, Any]]) -> bool:
        """Take events of one connection. Returns whether the stream came to its own end."""
        headers = {"Accept": "text/event-stream"}
        if seen:
            headers["Last-Event-ID"] = str(seen[-1]["seq"])
        self.connections += 1
        try:
            async with self._client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
                if answer.status_code in (204, 404):
                    # the job has ended, and all its events were seen; or it was deleted
                    return True
                if answer.status_code != 200:
                    return False
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        # one by one: what came before the connection broke counts
                        seen.append(json.loads(line.removeprefix("data: ")))  # noqa: PERF401
        except httpx.TransportError:
            return False
        return bool(seen) and seen[-1]["type"] == "state" and seen[-1]["data"]["state"] in FINAL


class Submitter(threading.Thread):
    """Asks for jobs, one after another, as long as few of them wait; a part of them in a batch, or cancelled later."""

    def __init__(
        self, url: str, ledger: Ledger, followers: Followers, datasets: dict[str, str], seed: int, most: int
    ) -> None:
        super().__init__(name=f"submitter-{seed}", daemon=True)
        self.over = threading.Event()
        self.quiet = threading.Event()
        """Set: submit nothing more."""
        self._ledger, self._followers, self._datasets = ledger, followers, datasets
        self._rng = random.Random(seed)
        self._caller = Caller(url, ledger, self.name, self.over)
        self._most = most
        self._open = 0

    def run(self) -> None:
        while not self.quiet.wait(PAUSE):
            if self._waiting() < self._most:
                self._submit()
        self._caller.close()

    def _waiting(self) -> int:
        answer = self._caller.get("/v1/jobs?state=queued&limit=100")
        return self._most if answer is None or answer.status_code != 200 else len(answer.json()["items"])

    def _submit(self) -> None:
        draw = self._rng.random()
        recipe = self._rng.choices(RECIPES, [one.weight for one in RECIPES])[0]
        if draw < 0.05:
            self._one(POISON, ("failed", "cancelled"), None)
        elif draw < 0.2:
            self._one(recipe, ("cancelled", "succeeded"), self._rng.uniform(0, 4))
        elif draw < 0.3:
            self._batch(self._rng.choices(RECIPES[:4], k=3))
        else:
            self._one(recipe, ("succeeded",), None)

    def _one(self, recipe: Recipe, wanted: tuple[str, ...], cancel_after: float | None) -> None:
        again = self._rng.random() < 0.3
        answer = self._caller.post("/v1/jobs", json=recipe.request(self._datasets), again=again)
        if answer is None:
            return
        if answer.status_code != 202:
            self._ledger.complain(f"{recipe.name} was refused: {answer.status_code} {answer.text[:200]}")
            return
        self._accepted(answer.json()["id"], recipe, wanted, cancel_after)

    def _batch(self, recipes: list[Recipe]) -> None:
        body = [recipe.request(self._datasets) for recipe in recipes]
        answer = self._caller.post("/v1/batches", json=body, again=self._rng.random() < 0.5)
        if answer is None:
            return
        if answer.status_code != 202:
            self._ledger.complain(f"a batch was refused: {answer.status_code} {answer.text[:200]}")
            return
        for link, recipe in zip(answer.json()["jobs"], recipes, strict=True):
            self._accepted(link.rpartition("/")[2], recipe, ("succeeded",), None)

    def _accepted(self, job_id: str, recipe: Recipe, wanted: tuple[str, ...], cancel_after: float | None) -> None:
        asked = Asked(job_id, recipe, wanted, cancel_after, time.monotonic())
        with self._ledger.lock:
            self._ledger.jobs[job_id] = asked
        self._followers.follow(job_id)


class Minder(threading.Thread):
    """Cancels what is to be cancelled, asks again for what failed through no fault of its own, deletes now and then."""

    def __init__(self, url: str, ledger: Ledger, followers: Followers, seed: int) -> None:
        super().__init__(name=f"minder-{seed}", daemon=True)
        self.over = threading.Event()
        self.retried = 0
        self._ledger, self._followers = ledger, followers
        self._rng = random.Random(seed)
        self._caller = Caller(url, ledger, self.name, self.over)
        self._settled: set[str] = set()

    def run(self) -> None:
        while not self.over.wait(PAUSE):
            with self._ledger.lock:
                asked = [one for one in self._ledger.jobs.values() if one.job_id not in self._settled]
            now = time.monotonic()
            for one in asked:
                if one.cancel_after is not None and now - one.accepted_at > one.cancel_after:
                    self._cancel(one)
                elif one.cancel_after is None:
                    self._look(one)
        self._caller.close()

    def _cancel(self, one: Asked) -> None:
        answer = self._caller.post(f"/v1/jobs/{one.job_id}/cancel")
        if answer is None:
            return
        one.cancel_after = None
        if answer.status_code < 300:
            # an accepted cancel is final unless the client asks for the job again
            one.wanted = ("cancelled",)

    def _look(self, one: Asked) -> None:
        answer = self._caller.get(f"/v1/jobs/{one.job_id}")
        if answer is None or answer.status_code != 200:
            return
        job = answer.json()
        mendable = job["state"] == "failed" and job["error"]["type"] in MENDABLE
        regretted = job["state"] == "cancelled" and self._rng.random() < 0.4
        if one.recipe is not POISON and (mendable or regretted):
            self._retry(one)
        elif job["state"] in FINAL:
            self._settled.add(one.job_id)
            if self._rng.random() < 0.1:
                self._forget(one)

    def _retry(self, one: Asked) -> None:
        one.wanted = ("succeeded",)
        answer = self._caller.post(f"/v1/jobs/{one.job_id}/retry")
        if answer is not None and answer.status_code == 202:
            self.retried += 1
            self._followers.follow(one.job_id)

    def _forget(self, one: Asked) -> None:
        answer = self._caller.delete(f"/v1/jobs/{one.job_id}")
        if answer is not None and answer.status_code in (204, 404):
            one.deleted = True


class Uploader(threading.Thread):
    """Uploads tables that nobody uses, each until it is answered, and deletes half of them."""

    def __init__(self, url: str, ledger: Ledger, seed: int) -> None:
        super().__init__(name=f"uploader-{seed}", daemon=True)
        self.over = threading.Event()
        self._ledger = ledger
        self._rng = random.Random(seed)
        self._caller = Caller(url, ledger, self.name, self.over)

    def run(self) -> None:
        number = 0
        while not self.over.wait(2.0):
            number += 1
            rows = "\n".join(f"{self._rng.random()},{i}" for i in range(5000))
            answer = self._caller.post(
                "/v1/datasets", content=f"a,b\n{rows}\n".encode(), headers={"Content-Type": "text/csv"}
            )
            if answer is None:
                break
            if answer.status_code not in (200, 201):
                self._ledger.complain(f"an upload was refused: {answer.status_code} {answer.text[:200]}")
                continue
            dataset = answer.json()["id"]
            if number % 2:
                self._caller.delete(f"/v1/datasets/{dataset}")
            else:
                with self._ledger.lock:
                    self._ledger.datasets.add(dataset)
        self._caller.close()
