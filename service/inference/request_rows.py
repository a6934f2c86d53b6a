"""Reading rows from a request's body.

A reader process reads Parquet, because damaged footers can crash pyarrow, workbooks, of which few bytes can take much
memory, and long JSON, because its parser holds the GIL (a third of a second for 16 MiB). Other forms are read in this
process, which damaged files do not crash: ``benchmarks/results/fuzz.md`` counts those tried.
"""

from collections.abc import Callable
from functools import partial

import pyarrow as pa
from anyio import to_thread
from fastapi import Request

from service.datasets.upload_folder import upload_folder
from service.datasets.upload_options import check_options
from service.http.content_encoding import decoded
from service.http.negotiation import content_type
from service.http.request_body import whole_body
from service.http.request_headers import header
from service.inference.kept_columns import KeptColumns
from service.runtime.context import Context
from service.runtime.predictor import ModelEntry
from worker.contracts.reading import FileRowsOrder, RowsOrder
from worker.tables.media import JSON, NDJSON, PARQUET, ROW_TYPES, XLSX
from worker.tables.rows.json_rows import of_lines
from worker.tables.rows.plain import Rows
from worker.tables.storage import load_arrow

LONG_JSON = 2**20


async def rows_of(
    context: Context, request: Request, header_row: bool | None, kept: KeptColumns | None = None
) -> tuple[int, Callable[[ModelEntry], Rows]]:
    """Return the length of the body, and a function that reads its rows for a model.

    ``header_row``: whether the first row of a text or a sheet holds the names. ``kept`` takes its columns as the rows
    are read.

    Raises:
        InvalidRequest: see ``check_options``.
        UnsupportedMediaType: the media type or the encoding is not supported.
        BodyTooLarge: the decompressed body is too large.
        UnreadableTable, TableTooLarge, StorageFull: of Parquet, see ``TableReaders.read``.
    """
    kind = content_type(request, ROW_TYPES, default=JSON)
    check_options({"header": header_row}, kind)
    body = await whole_body(request)
    encoding = header(request.scope, b"content-encoding")
    if encoding is not None:
        body = await to_thread.run_sync(decoded, body, encoding, context.settings.max_json_bytes)
    if kind == NDJSON:
        kind, body = JSON, await to_thread.run_sync(of_lines, body)
    max_rows = context.settings.max_predict_rows
    table = None
    if kind == PARQUET:
        table = await context.row_readers.run(
            partial(file_rows, context, body, PARQUET), request, context.database.project
        )

    def read(entry: ModelEntry) -> Rows:
        if kept is not None and kind != XLSX:
            if table is None:
                kept.read(body, kind, header_row, max_rows)
            else:
                kept.take(table)
        if table is not None:
            return entry.reader.fit(table, max_rows=max_rows)
        if kind == XLSX:

            def sheet(header: bool | None) -> pa.Table:
                rows = file_rows(context, body, XLSX, header)
                if kept is not None:
                    kept.take(rows)
                return rows

            return entry.reader.fit_with_header(sheet, header_row, max_rows=max_rows)
        if kind == JSON and len(body) > LONG_JSON and context.row_readers.isolated:
            return _long_rows(context, body, entry)
        return entry.reader.read(body, kind, max_rows=max_rows, header=header_row)

    return len(body), read


def _long_rows(context: Context, body: bytes, entry: ModelEntry) -> pa.Table:
    """Return the rows of a long JSON body. Runs in a thread of predictions.

    Raises:
        UnreadableTable, TableTooLarge, StorageFull, InvalidRequest, ColumnMismatch: see ``TableReaders.read``.
    """
    settings = context.settings
    with upload_folder(settings.home) as folder:
        source, destination = folder / "body", folder / "rows.arrow"
        source.write_bytes(body)
        features = entry.record.resource.features
        context.row_readers.read(
            RowsOrder(source=source, destination=destination, features=features, max_rows=settings.max_predict_rows)
        )
        return load_arrow(destination)


def file_rows(context: Context, body: bytes, media_type: str, header_row: bool | None = None) -> pa.Table:
    """Return the rows of a file, read by a reader process. Runs in a thread of ``row_readers.run`` or of predictions.

    Raises:
        UnreadableTable, TableTooLarge, StorageFull: see ``TableReaders.read``.
    """
    settings = context.settings
    with upload_folder(settings.home) as folder:
        source, destination = folder / "body", folder / "rows.arrow"
        source.write_bytes(body)
        context.row_readers.read(
            FileRowsOrder(
                source=source,
                media_type=media_type,
                destination=destination,
                max_rows=settings.max_predict_rows,
                header=header_row,
            )
        )
        return load_arrow(destination)
