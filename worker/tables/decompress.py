"""Decompress request bodies block by block, up to a limit."""

from pathlib import Path
from typing import Literal

import pyarrow as pa

from worker.contracts.errors import TableTooLarge, UnreadableTable, is_disk_full

BLOCK = 2**20


def decompress(source: Path, encoding: Literal["gzip", "zstd"], destination: Path, max_bytes: int) -> int:
    """Write the decompressed body to ``destination`` and return its length in bytes.

    Raises:
        UnreadableTable: the body does not match its Content-Encoding.
        TableTooLarge: it is longer than ``max_bytes``.
    """
    written = 0
    try:
        with (
            pa.CompressedInputStream(pa.OSFile(str(source)), encoding) as stream,
            destination.open("wb") as target,
        ):
            # not read(): it never frees the memory of a damaged block
            while block := stream.read_buffer(BLOCK):
                written += block.size
                if written > max_bytes:
                    raise TableTooLarge(f"the body is longer than {max_bytes} bytes once decompressed")
                target.write(block)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UnreadableTable(f"the body is not valid {encoding}, as its Content-Encoding says: {error}") from error
    return written
