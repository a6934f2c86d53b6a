"""Rows to predict that come as Parquet, read apart: over some damaged footers pyarrow ends its process.

Forms that are read in this process do not end it: ``benchmarks/results/fuzz.md`` counts how many damaged files were
tried.
"""

import pyarrow as pa

from service.context import Context
from service.upload_folder import upload_folder
from worker.contracts.reading import ReadOrder
from worker.tables.media import PARQUET
from worker.tables.rows import MOST_BYTES
from worker.tables.storage import load_table


def parquet_rows(context: Context, body: bytes) -> pa.Table:
    """Return the rows of a Parquet file, in a thread of ``context.row_readers.run``.

    Raises:
        UnreadableTable, TableTooLarge, StorageFull: see ``TableReaders.read``.
    """
    settings = context.settings
    with upload_folder(settings.home) as folder:
        source, destination = folder / "body", folder / "table.parquet"
        source.write_bytes(body)
        context.row_readers.read(
            ReadOrder(
                source=source,
                media_type=PARQUET,
                destination=destination,
                max_cells=settings.max_cells,
                max_bytes=MOST_BYTES,
            )
        )
        return load_table(destination)
