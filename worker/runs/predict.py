"""The run kind ``predict``: predict every row of a stored dataset into one file."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from worker.contracts.artifacts import ResultFile
from worker.contracts.events import LogData
from worker.contracts.messages import AnyReport, LogReport, PredictDone, PredictOrder, ProgressReport
from worker.contracts.resources import Progress
from worker.serving.stored import KeptMachines, load_model
from worker.store.files.artifacts import Artifacts
from worker.tables.rows.matching import WrongRow
from worker.tables.storage import iter_tables
from worker.tables.writers import MEDIA_TYPES, PredictionWriter
from worker.tables.written import categories_among
from worker.training.machine import Machine

BLOCK_ROWS = 8192
KEPT_SHARE = 0.25
"""Of the memory that is free, machines of a tree that are kept for further rows take at most this share."""
MAX_NAMED, MAX_NAME_LENGTH = 20, 100


def predict(
    order: PredictOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> PredictDone:
    """Predict block by block; memory does not grow with the dataset.

    Raises:
        InvalidRequest: a row cannot be encoded.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    report(ProgressReport(progress=Progress(stage="reading the model"), next_fraction=0.0))
    kept = KeptMachines(int(KEPT_SHARE * machine.available_bytes()))
    model = load_model(artifacts, order.model, kept).on(machine.device)
    started = time.monotonic()
    rows = 0
    report(_report(rows, order.table.rows, 0.0))
    unknown: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="factrfm-predict-") as folder:
        source = artifacts.local_copy(order.table.table, Path(folder))
        target = Path(folder) / f"result.{order.request.format}"
        names = [column.name for column in model.features]
        as_texts = categories_among(model.features)
        with PredictionWriter(
            target, order.request.format, model.targets, model.classes, spreadsheet=order.request.spreadsheet
        ) as writer:
            for table in iter_tables(source, names, BLOCK_ROWS, as_texts):
                try:
                    answer = model.answer(table)
                except WrongRow as error:
                    raise error.counted_from(rows) from error
                writer.write(answer.predictions, answer.probabilities)
                unknown.update(answer.unknown)
                rows += table.num_rows
                report(_report(rows, order.table.rows, time.monotonic() - started))
        if unknown:
            columns = ", ".join(f"{name[:MAX_NAME_LENGTH]} ({count})" for name, count in unknown.most_common(MAX_NAMED))
            message = f"rows hold categories that no training row had: {columns}"
            report(LogReport(data=LogData(message=message, level="warning")))
        result = artifacts.put_file(f"jobs/{order.prefix}/{target.name}", target)
    return PredictDone(file=ResultFile(result=result, media_type=MEDIA_TYPES[order.request.format]), rows=rows)


def _report(done: int, rows: int, seconds: float) -> ProgressReport:
    progress = Progress(
        fraction=done / max(rows, 1),
        stage="predicting",
        eta_seconds=seconds / done * (rows - done) if done else None,
    )
    return ProgressReport(progress=progress, next_fraction=min((done + BLOCK_ROWS) / max(rows, 1), 1.0))
