"""Bodies that came compressed, undone block by block and never beyond a limit."""

from pathlib import Path
from typing import Literal

import pyarrow as pa

from worker.contracts.errors import TableTooLarge, UnreadableTable, says_full

BLOCK = 2**20


def decompress(source: Path, encoding: Literal["gzip", "zstd"], destination: Path, max_bytes: int) -> int:
    """Write the decompressed body to ``destination`` and return its length in bytes.

    Raises:
        UnreadableTable: the body is not what its Content-Encoding says.
        TableTooLarge: it is longer than ``max_bytes``.
    """
    written = 0
    try:
        with (
            pa.CompressedInputStream(pa.OSFile(str(source)), encoding) as stream,
            destination.open("wb") as target,
        ):
            # not read: it never gives back the memory of a block that turns out to be damaged
            while block := stream.read_buffer(BLOCK):
                written += block.size
                if written > max_bytes:
                    raise TableTooLarge(f"the body is longer than {max_bytes} bytes once decompressed")
                target.write(block)
    except OSError as error:
        if says_full(error):
            raise
        raise UnreadableTable(f"the body is not valid {encoding}, as its Content-Encoding says: {error}") from error
    return written
