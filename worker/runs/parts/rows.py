"""The run kind ``rows``: some rows of a dataset, predicted into an Arrow file. It is a part of a ``predict`` job."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from worker.contracts.messages import AnyReport, PartDone, RowsOrder
from worker.contracts.parts import RowsDone
from worker.runs.predict import model_on, write_answers
from worker.store.files.artifacts import Artifacts
from worker.training.machine import Machine


def rows(order: RowsOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]) -> PartDone:
    """Predict the rows of a part block by block.

    Raises:
        InvalidRequest: a row cannot be encoded; it is named by its number in the dataset.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    work = order.work
    model = model_on(machine, order.model, artifacts)
    with tempfile.TemporaryDirectory(prefix="factrfm-rows-") as folder:
        source = artifacts.local_copy(order.table.table, Path(folder))
        target = Path(folder) / "rows.arrow"
        unknown = write_answers(order, model, source, (target, "arrow"), work, report)
        file = artifacts.put_file(f"jobs/{order.prefix}/rows-{work.first:012d}.arrow", target)
    return PartDone(result=RowsDone(first=work.first, rows=work.rows, file=file, unknown=dict(unknown)))
