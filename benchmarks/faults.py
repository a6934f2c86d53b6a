"""Faults injected into the whole service while clients work, and what is left of their work afterwards.

A campaign starts the queue, the API, two workers and a database as processes, learns what every kind of job gives
undisturbed, and then kills, stops, cuts off, fills and misleads them by a schedule that the seed decides. Meanwhile
clients submit with idempotency keys, cancel, retry, delete, upload, and follow every job over server-sent events. When
all is quiet again everything accepted is compared with the rows, the files and the undisturbed results. Odd seeds run
on SQLite, even ones on PostgreSQL.
"""

import argparse
import tempfile
from pathlib import Path
from typing import get_args

from benchmarks.faulting.campaign import Outcome, print_to_error, run_seed
from benchmarks.faulting.injuries import WEIGHTS
from benchmarks.faulting.stage import LEASE_SECONDS
from benchmarks.report import Report
from worker.contracts.parts import PartKind

FAULTS, QUICK_FAULTS = 300, 25


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--faults", type=int, help=f"faults of each seed ({FAULTS}; with --quick {QUICK_FAULTS})")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    faults = arguments.faults or (QUICK_FAULTS if arguments.quick else FAULTS)
    outcomes = [_campaign(seed, faults) for seed in arguments.seeds]
    names = [f"seed {one.seed}, {one.dialect}" for one in outcomes]
    rows = [[kind, *(one.faults[kind] for one in outcomes)] for kind in WEIGHTS]
    report.table("Faults", ["kind", *names], [*rows, ["all", *(one.faults.total() for one in outcomes)]])
    states = ("succeeded", "failed", "cancelled")
    rows = [[state, *(one.findings.states[state] for one in outcomes)] for state in states]
    rows += [[f"poison among the {state}", *(one.findings.poison[state] for one in outcomes)] for state in states[1:]]
    rows += [[f"parts that {state}", *(one.findings.parts[state] for one in outcomes)] for state in states]
    rows += [
        [f"parts of kind {kind} that succeeded", *(one.findings.part_kinds[kind] for one in outcomes)]
        for kind in get_args(PartKind)
    ]
    rows += [["deleted by a client", *(one.deleted for one in outcomes)]]
    report.table("Jobs", ["state", *names], rows)
    report.table("Found", ["what", *names], [[what, *(figure(one) for one in outcomes)] for what, figure in FOUND])
    report.note(
        f"Leases last {LEASE_SECONDS:g} s, training runs on one CPU thread. Disks are tmpfs of their own, filled to "
        "the last byte, so a write fails with the kernel's ENOSPC; where mounting is not allowed these two kinds are "
        "left out. Clocks are moved in the processes' own clock, connections are cut by a relay between Unix sockets. "
        "Poison is a job whose training process is killed whenever it runs. 'Lost' counts accepted jobs, models and "
        "events that are not there, 'duplicated' those that are there twice, 'wrong' jobs in a state that nobody "
        "asked for, results that differ in a bit from the undisturbed one, answers of 500, files that no row names, "
        "and processes that did not end. Seeds fix the schedule, not the interleaving."
    )
    wrongs = [[f"seed {one.seed}: {wrong}"] for one in outcomes for wrong in one.wrongs]
    if wrongs:
        report.table("What is not as it must be", ["what"], wrongs)
        report.save()
        raise SystemExit(1)


FOUND = (
    ("lost", lambda one: len(one.findings.lost)),
    ("duplicated", lambda one: len(one.findings.duplicated)),
    ("wrong", lambda one: len(one.findings.wrong) + len(one.orphans) + len(one.left_over) + len(one.stubborn)),
    ("attempts", lambda one: one.findings.attempts),
    ("results compared bit for bit", lambda one: one.findings.compared),
    ("events followed", lambda one: one.findings.events),
    ("connections of followers", lambda one: one.connections),
    ("answered requests", lambda one: one.ledger.requests),
    ("of them after more than one try", lambda one: one.ledger.repeated),
    ("of them replayed by their key", lambda one: one.ledger.replayed),
    ("downloads compared with what they must be", lambda one: one.audited),
    ("jobs asked for again after a loss or a cancel", lambda one: one.retried),
    ("seconds until all was quiet", lambda one: one.settle_seconds),
    ("seconds until the last file without a row was gone", lambda one: one.sweep_seconds),
    ("seconds", lambda one: one.seconds),
)


def _campaign(seed: int, faults: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="factrfm-faults-") as folder:
        outcome = run_seed(Path(folder), seed, faults, say=print_to_error)
    for wrong in outcome.wrongs:
        print_to_error(wrong)
    return outcome
