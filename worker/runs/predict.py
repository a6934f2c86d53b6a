"""The run kind ``predict``: predict every row of a stored dataset into one file.

Many rows are parts of the job (``parts.rows``), whose files it puts together in the order of the rows. The result has
the same bytes either way: each block of rows is the same, and is written by the same writer.
"""

import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa

from worker.contracts.artifacts import ArtifactRef, ResultFile
from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing
from worker.contracts.events import LogData
from worker.contracts.messages import (
    AnyReport,
    LogReport,
    PredictDone,
    PredictingOrder,
    PredictOrder,
    ProgressReport,
    RoundPlanned,
)
from worker.contracts.parts import RowsDone, RowsWork
from worker.contracts.resources import PartCounts, Progress
from worker.serving.model import ServedModel
from worker.serving.stored import KeptMachines, load_model
from worker.store.files.artifacts import Artifacts
from worker.tables.rows.matching import WrongRow
from worker.tables.storage import iter_arrow, iter_tables
from worker.tables.values import canonical
from worker.tables.writers import MEDIA_TYPES, Format, PredictionWriter, TableWriter
from worker.tables.written import categories_among
from worker.training.cost import ROW_SECONDS, START_SECONDS
from worker.training.machine import Machine

BLOCK_ROWS = 8192
KEPT_SHARE = 0.25
"""Of the memory that is free, machines of a tree that are kept for further rows take at most this share."""
MAX_PARTS = 256
"""Each part reads the whole table once to verify it, so parts of very large tables are larger."""
JOINING_SHARE = 0.05
"""Share of the progress that putting the parts together gets."""
MAX_NAMED, MAX_NAME_LENGTH = 20, 100


def predict(
    order: PredictOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> PredictDone | RoundPlanned:
    """Predict block by block, or plan parts that do; memory does not grow with the dataset.

    Raises:
        InvalidRequest: a row cannot be encoded.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    works = _works(order)
    if len(works) < 2:
        return _predict_alone(order, artifacts, machine, report)
    made = [outcome.result for outcome in order.outcomes if isinstance(outcome.result, RowsDone)]
    number = max(order.round, 1)
    if _ranges(made) != _ranges(works):
        # a worker with another setting divided the rows in another way; parts that succeeded keep their numbers
        fits = all(
            isinstance(outcome.result, RowsDone) and _ranges([outcome.result]) == _ranges(works[outcome.number :][:1])
            for outcome in order.outcomes
        )
        return _plan(order, works, number if fits else number + 1)
    try:
        return _join(order, made, artifacts, report)
    except (ArtifactMissing, ArtifactCorrupt) as error:
        message = f"starting afresh, because what a part made cannot be read: {error.detail}"
        report(LogReport(data=LogData(level="warning", message=message)))
        return _plan(order, works, number + 1)


def model_on(machine: Machine, ref: ArtifactRef, artifacts: Artifacts) -> ServedModel:
    """Return a stored model on the machine's device, to predict with in one thread."""
    kept = KeptMachines(int(KEPT_SHARE * machine.available_bytes()))
    return load_model(artifacts, ref, kept).on(machine.device)


def write_answers(
    order: PredictingOrder,
    model: ServedModel,
    source: Path,
    target: tuple[Path, Format],
    work: RowsWork,
    report: Callable[[AnyReport], None],
) -> Counter[str]:
    """Predict rows of a stored table block by block into a file. Returns how many hold unknown categories, by column.

    ``source``: the table of the order. ``target``: the file, and its format.

    Raises:
        InvalidRequest: a row cannot be encoded; it is named by its number in the dataset.
    """
    unknown: Counter[str] = Counter()
    started = time.monotonic()
    done = 0
    report(_predicting(done, work.rows, 0.0))
    keep, as_texts = order.request.keep, categories_among(model.features)
    names = list(dict.fromkeys([*(column.name for column in model.features), *keep]))
    tables = iter_tables(source, names, BLOCK_ROWS, as_texts, first=work.first, rows=work.rows)
    first = next(tables)
    with PredictionWriter(
        *target,
        model.targets,
        model.classes,
        spreadsheet=order.request.spreadsheet,
        kept=_kept(first, keep).schema,
    ) as writer:
        for table in chain([first], tables):
            try:
                answer = model.answer(table)
            except WrongRow as error:
                raise error.counted_from(work.first + done) from error
            writer.write(answer.predictions, answer.probabilities, _kept(table, keep))
            unknown.update(answer.unknown)
            done += table.num_rows
            report(_predicting(done, work.rows, time.monotonic() - started))
    return unknown


def _kept(table: pa.Table, names: Sequence[str]) -> pa.Table:
    return pa.table({name: canonical(table.column(name)) for name in names}).combine_chunks()


def _works(order: PredictOrder) -> list[RowsWork]:
    """Return the parts of the job: whole blocks, as many as take the part's seconds by the job's estimate."""
    rows = order.table.rows
    if order.part_seconds is None:
        return []
    seconds = rows * ROW_SECONDS if order.expected_seconds is None else order.expected_seconds - START_SECONDS
    parts = min(max(math.floor(seconds / order.part_seconds), 1), MAX_PARTS)
    each = BLOCK_ROWS * math.ceil(rows / BLOCK_ROWS / parts)
    return [RowsWork(first=first, rows=min(each, rows - first)) for first in range(0, rows, each)]


def _ranges(parts: Sequence[RowsWork | RowsDone]) -> list[tuple[int, int]]:
    return [(part.first, part.rows) for part in parts]


def _plan(order: PredictOrder, works: list[RowsWork], number: int) -> RoundPlanned:
    counts = PartCounts(done=0, running=0, total=len(works), fraction_after=1 - JOINING_SHARE)
    return RoundPlanned(
        round=number, parts=list(works), progress=Progress(stage="predicting", parts=counts), checkpoint=None
    )


def _predict_alone(
    order: PredictOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> PredictDone:
    report(ProgressReport(progress=Progress(stage="reading the model"), next_fraction=0.0))
    model = model_on(machine, order.model, artifacts)
    with tempfile.TemporaryDirectory(prefix="factrfm-predict-") as folder:
        source = artifacts.local_copy(order.table.table, Path(folder))
        target = Path(folder) / f"result.{order.request.format}"
        work = RowsWork(first=0, rows=order.table.rows)
        unknown = write_answers(order, model, source, (target, order.request.format), work, report)
        return _done(order, unknown, target, artifacts, report)


def _join(
    order: PredictOrder, made: Sequence[RowsDone], artifacts: Artifacts, report: Callable[[AnyReport], None]
) -> PredictDone:
    """Write the files of the parts into one, batch by batch.

    Raises:
        ArtifactMissing, ArtifactCorrupt: storage lost or changed one of them.
    """
    unknown: Counter[str] = Counter()
    for part in made:
        unknown.update(part.unknown)
    with tempfile.TemporaryDirectory(prefix="factrfm-predict-") as folder:
        target = Path(folder) / f"result.{order.request.format}"
        tables = _tables(made, order.table.rows, artifacts, Path(folder), report)
        first = next(tables)
        with TableWriter(target, order.request.format, first.schema, spreadsheet=order.request.spreadsheet) as writer:
            for table in chain([first], tables):
                writer.write_table(table)
        return _done(order, unknown, target, artifacts, report)


def _tables(
    made: Sequence[RowsDone], rows: int, artifacts: Artifacts, folder: Path, report: Callable[[AnyReport], None]
) -> Iterator[pa.Table]:
    """Yield the predictions of all parts. ``folder`` holds one copy of a remote file at a time."""
    for part in made:
        fraction, following = (1 - JOINING_SHARE * (1 - done / rows) for done in (part.first, part.first + part.rows))
        progress = Progress(fraction=fraction, stage="putting the parts together")
        report(ProgressReport(progress=progress, next_fraction=following))
        with tempfile.TemporaryDirectory(dir=folder) as copies:
            yield from iter_arrow(artifacts.local_copy(part.file, Path(copies)))


def _done(
    order: PredictOrder,
    unknown: Counter[str],
    target: Path,
    artifacts: Artifacts,
    report: Callable[[AnyReport], None],
) -> PredictDone:
    if unknown:
        columns = ", ".join(f"{name[:MAX_NAME_LENGTH]} ({count})" for name, count in unknown.most_common(MAX_NAMED))
        message = f"rows hold categories that no training row had: {columns}"
        report(LogReport(data=LogData(message=message, level="warning")))
    result = artifacts.put_file(f"results/{order.prefix}/{target.name}", target)
    file = ResultFile(result=result, media_type=MEDIA_TYPES[order.request.format])
    return PredictDone(file=file, rows=order.table.rows)


def _predicting(done: int, rows: int, seconds: float) -> ProgressReport:
    progress = Progress(
        fraction=done / max(rows, 1),
        stage="predicting",
        eta_seconds=seconds / done * (rows - done) if done else None,
    )
    return ProgressReport(progress=progress, next_fraction=min((done + BLOCK_ROWS) / max(rows, 1), 1.0))
