"""One process that reads damaged files until its time is over: ``python -m benchmarks.fuzzing.readers``.

It says on its standard output, as lines of JSON, what went wrong, and at the end what it did. The file under way lies
in its folder, so that a crash leaves what caused it. The process has a bound on its memory, as a hostile file meets it.
"""

import argparse
import faulthandler
import json
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import structlog

from benchmarks.fuzzing.corpus import GZIP, SAFETENSORS, ZSTD, corpus
from benchmarks.fuzzing.mutations import mutate
from service.runtime.reader_pool import TableReaders
from worker.contracts.errors import FactRFMError
from worker.contracts.reading import ReadOrder
from worker.contracts.resources import ModelColumn
from worker.store.files.safetensors_io import load, unpack
from worker.tables import media
from worker.tables.decompress import decompress
from worker.tables.files.ingest import ingest
from worker.tables.rows.table_rows import RowReader

MAX_CELLS = 1_000_000
MAX_BYTES = 2**24
ALLOWED_GROWTH = 2**28
"""A file of some kilobytes may not take more bytes of memory than that."""
ALLOWED_SECONDS = 20.0
FEATURES = [
    ModelColumn(name="number", type="numeric"),
    ModelColumn(name="text", type="categorical"),
    ModelColumn(name="flag", type="boolean"),
]


def ways(kind: str, folder: Path, readers: TableReaders) -> list[Callable[[bytes], object]]:
    """Return all that the service does with a body of a kind. Each raises nothing but errors of ours."""
    source, target = folder / "body", folder / "made"
    reader = RowReader(FEATURES)

    def taken(body: bytes) -> object:
        source.write_bytes(body)
        return ingest(source, kind, target, max_cells=MAX_CELLS, max_bytes=MAX_BYTES)

    def apart(body: bytes) -> object:
        source.write_bytes(body)
        order = ReadOrder(source=source, media_type=kind, destination=target, max_cells=MAX_CELLS, max_bytes=MAX_BYTES)
        return readers.read(order)

    def undone(body: bytes) -> object:
        source.write_bytes(body)
        return decompress(source, "gzip" if kind == GZIP else "zstd", target, MAX_BYTES)

    def loaded(body: bytes) -> object:
        source.write_bytes(body)
        return load(source)

    def predicted(body: bytes) -> object:
        return reader.read(body, kind, max_rows=1000)

    if kind in (GZIP, ZSTD):
        return [undone]
    if kind == SAFETENSORS:
        return [unpack, loaded]
    if kind == media.PARQUET:
        return [apart]
    both = (taken, media.DATASET_TYPES), (predicted, media.ROW_TYPES)
    return [way for way, kinds in both if kind in kinds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--files", type=int, default=2**62)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--memory", type=int, default=2**32, help="bytes of address space beyond the start")
    arguments = parser.parse_args()
    faulthandler.enable()
    # standard output is for what this says; the service's log goes beside it
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    _bound_memory(arguments.memory)
    found = read_damaged(
        arguments.kind, arguments.seed, arguments.folder, seconds=arguments.seconds, files=arguments.files
    )
    print(json.dumps(found), flush=True)


def read_damaged(kind: str, seed: int, folder: Path, *, seconds: float, files: int) -> dict[str, object]:
    """Read damaged files of a kind. Returns how many, how they ended, and the most time and memory that one took."""
    with closing(TableReaders(1, ALLOWED_GROWTH, ALLOWED_SECONDS)) as readers:
        return _read_damaged(kind, seed, folder, ways(kind, folder, readers), seconds, files)


def _read_damaged(
    kind: str, seed: int, folder: Path, doings: Sequence[Callable[[bytes], object]], seconds: float, files: int
) -> dict[str, object]:
    draw = random.Random(seed)
    sound = corpus()[kind]
    ends: Counter[str] = Counter()
    read, slowest, growth = 0, 0.0, 0
    ends_at = time.monotonic() + seconds
    for body in sound:
        for do in doings:
            do_one(do, body)
    while read < files and time.monotonic() < ends_at:
        body = mutate(draw, draw.choice(sound), sound)
        (folder / "last").write_bytes(body)
        for do in doings:
            before, began = _peak(), time.monotonic()
            faulthandler.dump_traceback_later(ALLOWED_SECONDS, exit=True)
            end = do_one(do, body)
            faulthandler.cancel_dump_traceback_later()
            took, grew = time.monotonic() - began, _peak() - before
            slowest, growth = max(slowest, took), max(growth, grew)
            ends[end] += 1
            if end not in ("read", ENDED, *OURS) or grew > ALLOWED_GROWTH:
                place = folder / f"found-{read}"
                place.write_bytes(body)
                print(json.dumps({"end": end, "grew": grew, "way": do.__name__, "file": str(place)}), flush=True)
        read += 1
    return {"kind": kind, "files": read, "ends": dict(ends), "slowest": slowest, "growth": growth}


ENDED = "reader_ended"
"""A process that reads for the service ended over the file. Only Parquet is read by none but such processes."""
OURS = ("invalid_request", "column_mismatch", "unreadable_table", "table_too_large", "artifact_corrupt")


def do_one(do: Callable[[bytes], object], body: bytes) -> str:
    """Return how a way ended: 'read', the code of our error, or the last lines of another's traceback."""
    try:
        do(body)
    except FactRFMError as error:
        return ENDED if ": its reader ended with" in error.detail else error.code
    except BaseException:
        return " | ".join(line.strip() for line in traceback.format_exc().splitlines()[-5:])
    return "read"


def _bound_memory(more: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
