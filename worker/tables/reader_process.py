"""Reads tables for another process: an order per line on standard input, an answer per line on standard output.

Untrusted bytes are parsed in this process, which has no addresses and no passwords, and whose memory is bounded by its
first argument. A file that breaks a parser ends only this process.
"""

import os
import queue
import resource
import sys
import threading

import pyarrow as pa
from pydantic import TypeAdapter

from worker.contracts.errors import InvalidRequest, StorageFull, TableTooLarge, UnreadableTable
from worker.contracts.reading import AnyOrder, FileRowsOrder, ReadDone, ReadFailed, RowsOrder
from worker.store.files.disk_full import needing_room
from worker.tables.files.ingest import ingest
from worker.tables.rows import json_rows
from worker.tables.rows.table_rows import read_rows
from worker.tables.storage import save_arrow

ORDERS: TypeAdapter[AnyOrder] = TypeAdapter(AnyOrder)


def main(memory_bytes: int) -> int:
    """Answer orders until standard input ends, which happens when the parent process ends."""
    # the data segment: allocations, without libraries and mapped files
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        answer = _answer(ORDERS.validate_json(orders.get()))
        sys.stdout.write(answer.model_dump_json() + "\n")
        sys.stdout.flush()


def _listen(orders: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    # at once, even in the middle of a file: nobody waits for the answer
    os._exit(0)


def _answer(order: AnyOrder) -> ReadDone | ReadFailed:
    try:
        with needing_room("the table"):
            return carry_out(order)
    except (UnreadableTable, TableTooLarge, StorageFull, InvalidRequest) as error:
        return ReadFailed.model_validate(
            {
                "code": error.code,
                "detail": error.detail,
                "errors": [(field.pointer, field.message) for field in error.errors],
            }
        )
    except pa.ArrowException as error:
        # unexpected errors of a reader are faults of the file, so the process goes on
        reason = str(error).splitlines()[0][:300]
        return ReadFailed(code="unreadable_table", detail=f"the table cannot be read: {reason}")
    except MemoryError:
        return ReadFailed(code="out_of_memory", detail="")


def carry_out(order: AnyOrder) -> ReadDone:
    """Carry out an order in this process.

    Raises:
        UnreadableTable, TableTooLarge: see ``ingest``.
        UnreadableTable, InvalidRequest: see ``json_rows``.
    """
    if isinstance(order, FileRowsOrder):
        rows = read_rows(order.source, order.media_type, order.max_rows, order.header)
        save_arrow(rows, order.destination)
        return ReadDone(rows=rows.num_rows)
    if isinstance(order, RowsOrder):
        rows = json_rows.table_of(json_rows.parsed(order.source.read_bytes()), order.features, max_rows=order.max_rows)
        save_arrow(rows, order.destination)
        return ReadDone(rows=rows.num_rows)
    table = ingest(
        order.source,
        order.media_type,
        order.destination,
        max_cells=order.max_cells,
        max_bytes=order.max_bytes,
        options=order.options,
    )
    return ReadDone(rows=table.rows, columns=table.columns, reading=table.reading)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
