"""Requests and files made to break the service: schemathesis against all of it, and damaged files for its readers.

schemathesis sends what the OpenAPI document allows and what it does not, in all its phases (examples, coverage,
fuzzing, and stateful along the links) and with all its checks, to a service with a worker and real data: open, and with
keys.
Then each reader gets sound files with damage: in a process of its own whose memory is bounded.
"""

import argparse
import json
import secrets
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.fuzzing import things
from benchmarks.fuzzing.contract import Outcome
from benchmarks.fuzzing.contract import run as run_contract
from benchmarks.fuzzing.corpus import corpus
from benchmarks.fuzzing.readers import ENDED, OURS
from benchmarks.fuzzing.service import serving
from benchmarks.report import Report

ROUNDS = (("examples,coverage,fuzzing", 60), ("stateful", 40))
QUICK_EXAMPLES = 5
MINUTES = 10.0
CONTRACT_SHARE = 0.6
FAULT = "unexpected error"
"""What the API logs for an answer of 500."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=MINUTES, help="about how long it takes in all")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    seconds = 60.0 if arguments.quick else arguments.minutes * 60
    with tempfile.TemporaryDirectory(prefix="factrfm-fuzz-") as folder:
        wrong = _contract(arguments, Path(folder), seconds * CONTRACT_SHARE, report)
        wrong += _readers(arguments.seed, Path(folder), seconds * (1 - CONTRACT_SHARE), report)
    report.table("What is not as it must be", ["what"], [[one] for one in wrong] or [["nothing"]])
    if wrong:
        report.save()
        raise SystemExit(1)


def _contract(arguments: argparse.Namespace, folder: Path, seconds: float, report: Report) -> list[str]:
    """Fuzz an open service and one with keys, in rounds until the time is over. Returns what was wrong."""
    rows: list[list[Any]] = []
    wrong: list[str] = []
    rates: dict[str, Counter[str]] = {}
    each = int(seconds / 2 / len(ROUNDS))
    for name, key in (("open", None), ("with a key", secrets.token_urlsafe())):
        home = folder / name.replace(" ", "-")
        with serving(home, key) as client:
            for index, (phases, examples) in enumerate(ROUNDS):
                found = run_contract(
                    str(client.base_url).rstrip("/"),
                    things.make(client),
                    home / f"round-{index}",
                    phases=phases,
                    examples=QUICK_EXAMPLES if arguments.quick else examples,
                    seed=arguments.seed + index,
                    seconds=each,
                    key=key,
                )
                rows.append([name, phases, found.operations, found.cases, round(found.seconds), len(found.failures)])
                wrong += [f"{name}, {phases}: {one}" for one in found.failures]
                _add(rates, found)
        faults = sum(log.read_text().count(FAULT) for log in (home / "state" / "logs").glob("api.log*"))
        wrong += [f"{name}: {faults} answers of 500 in the log"] if faults else []
    report.table("schemathesis", ["service", "phases", "calls", "requests", "seconds", "failures"], rows)
    names = ("accepted", "unreachable", "conflicts", "rejected")
    report.table(
        "Valid requests by answer",
        ["call", "2xx", "404", "409", "refused otherwise"],
        [[call, *(counts[name] for name in names)] for call, counts in sorted(rates.items())],
    )
    return wrong


def _add(rates: dict[str, Counter[str]], found: Outcome) -> None:
    for call, counts in found.rates.items():
        rates.setdefault(call, Counter()).update(counts)


def _readers(seed: int, folder: Path, seconds: float, report: Report) -> list[str]:
    """Give every reader damaged files. Returns what was wrong."""
    rows: list[list[Any]] = []
    wrong: list[str] = []
    kinds = list(corpus())
    for kind in kinds:
        home = folder / kind.replace("/", "-")
        home.mkdir()
        command = [sys.executable, "-m", "benchmarks.fuzzing.readers", kind, "--folder", str(home), "--seed", str(seed)]
        command += ["--seconds", str(seconds / len(kinds))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode != 0:
            name = signal.Signals(-done.returncode).name if done.returncode < 0 else done.returncode
            wrong.append(f"{kind}: the process ended with {name} over {(home / 'last').read_bytes().hex()[:2000]}")
        wrong += [f"{kind}: {one['end']}, {one['grew']} bytes more" for one in told if "end" in one]
        for one in told:
            if "files" in one:
                read, refused = one["ends"].get("read", 0), sum(one["ends"].get(code, 0) for code in OURS)
                ended = one["ends"].get(ENDED, 0)
                rows.append([kind, one["files"], read, refused, ended, one["slowest"], one["growth"] / 2**20])
    columns = ["form", "damaged files", "gave a table", "gave our error", "ended a reader", "slowest s", "most MiB"]
    report.table("Readers", columns, rows)
    report.note(
        "A form may be read in two ways: as a data set and as rows to predict. MiB is how far one file raised the "
        "peak. Parquet is read as the service reads it, by a process of its own with a bound of 256 MiB: some damaged "
        "footers end it, because pyarrow does not catch an exception of its own, and the answer is 422."
    )
    return wrong
