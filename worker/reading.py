"""Reads tables for another process: an order a line on standard input, its answer a line on standard output.

Bytes from strangers are parsed here, in a process that has no address and no password of anything, and whose memory is
bounded by its first argument. A file that is too much for a parser ends this process and no other.
"""

import os
import queue
import resource
import sys
import threading

from worker.contracts.errors import StorageFull, TableTooLarge, UnreadableTable
from worker.contracts.reading import ReadDone, ReadFailed, ReadOrder
from worker.store.room import needing_room
from worker.tables.ingest import ingest


def main(memory_bytes: int) -> int:
    """Answer orders until standard input ends, which it does with the process that gives them."""
    # the data segment: what is allocated, and neither libraries nor the files that are mapped
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        answer = _answer(ReadOrder.model_validate_json(orders.get()))
        sys.stdout.write(answer.model_dump_json() + "\n")
        sys.stdout.flush()


def _listen(orders: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    # at once, also in the middle of a file: nobody waits for the answer any more
    os._exit(0)


def _answer(order: ReadOrder) -> ReadDone | ReadFailed:
    try:
        with needing_room("the table"):
            table = ingest(
                order.source, order.media_type, order.destination, max_cells=order.max_cells, max_bytes=order.max_bytes
            )
    except (UnreadableTable, TableTooLarge, StorageFull) as error:
        return ReadFailed(code=error.code, detail=error.detail)
    except MemoryError:
        return ReadFailed(code="out_of_memory", detail="")
    return ReadDone(rows=table.rows, columns=table.columns)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
