"""Large files over a line that breaks: they arrive whole, and what has arrived is not sent again."""

import asyncio
import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cutting import CuttingLine
from support.processes import REPOSITORY, System, wait_until

from service.client import AsyncClient, Client, Refused, UploadInterrupted, part_uploads
from service.client import retries as policy
from worker.contracts.resources import Dataset, Upload

PART_BYTES = 2**16
SMALL = {"upload_part_bytes": str(PART_BYTES), "max_body_bytes": "100000000", "table_readers": "1"}
Starter = Callable[..., System]
Lines = Callable[..., CuttingLine]


@pytest.fixture
def system(start_system: Starter) -> System:
    return start_system(workers=0, **SMALL)


@pytest.fixture
def line() -> Iterator[Lines]:
    """Makes lines, which are closed after the test."""
    made: list[CuttingLine] = []

    def make(system: System, cut: Callable[[int, bytes], bool]) -> CuttingLine:
        made.append(CuttingLine(system.port, cut))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of some twenty parts."""
    path = tmp_path / "large.csv"
    draw = random.Random(0)
    path.write_text("a,b,y\n" + "".join(f"{draw.random()},{draw.random()},{draw.random()}\n" for _ in range(22_000)))
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(part_uploads, "MIN_BYTES", PART_BYTES)
    monkeypatch.setattr(part_uploads, "POLL_SECONDS", 0.05)


def upload(kind: str, port: int, path: Path, **options: object) -> Dataset:
    url = f"http://127.0.0.1:{port}"
    if kind == "sync":
        with Client(url, retries=10) as client:
            return client.upload(path, **options)

    async def awaited() -> Dataset:
        async with AsyncClient(url, retries=10) as client:
            return await client.upload(path, **options)

    return asyncio.run(awaited())


def is_whole(dataset: Dataset, path: Path) -> bool:
    return dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and dataset.rows == 22_000


def nothing_is_left(system: System) -> bool:
    artifacts = system.home / "artifacts" / "uploads"
    left = [path for path in artifacts.rglob("*") if path.is_file()]
    return left == [] and list((system.home / "tmp").iterdir()) == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_line_that_is_cut_amid_parts_carries_the_whole_file(
    kind: str, system: System, line: Lines, large: Path
) -> None:
    draw = random.Random(1)
    lasts: dict[int, int] = {}

    def cut(connection: int, sent: bytes) -> bool:
        return len(sent) > lasts.setdefault(connection, draw.randrange(PART_BYTES // 2, 4 * PART_BYTES))

    broken = line(system, cut)
    told: list[tuple[Upload, int]] = []
    assert is_whole(upload(kind, broken.port, large, progress=lambda *one: told.append(one)), large)
    assert broken.cuts > 5
    assert [done for _, done in told] == sorted(done for _, done in told)
    assert (told[0][1], told[-1][1]) == (0, large.stat().st_size)
    assert nothing_is_left(system)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_upload_goes_on_where_a_dead_line_ended_it(kind: str, system: System, line: Lines, large: Path) -> None:
    dying = line(system, lambda _, sent: len(sent) > 5.5 * PART_BYTES)

    def die(_: Upload, done: int) -> None:
        dying.dead = done >= 3 * PART_BYTES

    with pytest.raises(UploadInterrupted) as interrupted:
        upload(kind, dying.port, large, progress=die)
    upload_id = interrupted.value.upload_id
    assert upload_id in str(interrupted.value)
    there = Upload.model_validate(system.client.get(f"/v1/uploads/{upload_id}").json())
    assert 3 <= len(there.parts) < there.total_parts
    whole = line(system, lambda *_: False)
    assert is_whole(upload(kind, whole.port, large, resume=upload_id), large)
    arrived = sum(part.bytes for part in there.parts)
    assert whole.relayed < large.stat().st_size - arrived + PART_BYTES, "what has arrived is not sent again"
    # the dataset, although all is gone
    assert is_whole(upload(kind, whole.port, large, resume=upload_id), large)
    assert nothing_is_left(system)


def test_another_file_does_not_resume_an_upload(system: System, line: Lines, large: Path, tmp_path: Path) -> None:
    dying = line(system, lambda *_: False)

    def die(_: Upload, done: int) -> None:
        dying.dead = done >= 3 * PART_BYTES
        if dying.dead:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload("sync", dying.port, large, progress=die)
    [begun] = system.client.get("/v1/uploads").json()["items"]
    longer, other = tmp_path / "longer.csv", tmp_path / "other.csv"
    longer.write_bytes(large.read_bytes() + b"1,2,3\n")
    other.write_bytes(large.read_bytes().replace(b"0.", b"1.", 5))
    for path, why in ((longer, "bytes, and this one has"), (other, "part 1 of it has other bytes")):
        with pytest.raises(ValueError, match=why):
            upload("sync", system.port, path, resume=begun["id"])


def test_a_table_is_read_to_its_end_if_the_line_is_cut_meanwhile(system: System, line: Lines, large: Path) -> None:
    completions: list[int] = []

    def cut(connection: int, sent: bytes) -> bool:
        if b"/complete HTTP" in sent:
            completions.append(connection)
        return len(completions) == 1

    broken = line(system, cut)
    assert is_whole(upload("sync", broken.port, large), large)
    assert len(completions) > 1
    assert len(system.client.get("/v1/datasets").json()["items"]) == 1
    wait_until(lambda: nothing_is_left(system), 10, "nothing is left of the upload")


def test_a_process_that_is_killed_loses_no_part_that_it_acknowledged(
    start_system: Starter, line: Lines, large: Path
) -> None:
    system = start_system(workers=0, **SMALL, orphan_seconds="1")
    acknowledged = 0

    def kill(_: Upload, done: int) -> None:
        nonlocal acknowledged
        acknowledged = done
        if done >= 4 * PART_BYTES:
            assert system.api is not None
            system.api.kill()

    with pytest.raises(UploadInterrupted) as interrupted:
        upload("sync", system.port, large, progress=kill)
    system.start_api()
    upload_id = interrupted.value.upload_id
    parts = system.client.get(f"/v1/uploads/{upload_id}").json()["parts"]
    assert sum(part["bytes"] for part in parts) == acknowledged
    assert is_whole(upload("async", system.port, large, resume=upload_id), large)
    wait_until(lambda: nothing_is_left(system), 30, "what was half written is swept")


def test_a_refused_table_leaves_no_upload(system: System, tmp_path: Path) -> None:
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n" + "1,2\n" * 40_000 + "1\n")
    with pytest.raises(Refused, match="ragged"):
        upload("sync", system.port, ragged)
    assert system.client.get("/v1/uploads").json()["items"] == []
    assert nothing_is_left(system)


def test_the_command_says_how_to_resume_and_resumes(system: System, line: Lines, large: Path) -> None:
    code = (
        "import sys; from service.client import part_uploads; part_uploads.MIN_BYTES = 1; "
        "from service.cli import main; main()"
    )

    def run(port: int, *more: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-c", code, "upload", str(large), "--url", f"http://127.0.0.1:{port}", *more]
        return subprocess.run(arguments, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60)

    def die(_: int, sent: bytes) -> bool:
        dying.dead = len(sent) > 6 * PART_BYTES
        return dying.dead

    dying = line(system, die)
    first = run(dying.port)
    assert first.returncode == 1, first.stderr
    [begun] = system.client.get("/v1/uploads").json()["items"]
    assert f"--resume {begun['id']}" in first.stderr
    assert 0 < len(begun["parts"]) < begun["total_parts"]
    again = run(system.port, "--resume", begun["id"])
    assert again.returncode == 0, again.stderr
    assert "22000" in again.stdout
