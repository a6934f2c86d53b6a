"""A model's file, read with torch and the standard library alone: no code is ever run by reading it.

A safetensors file is the length of a header (8 bytes, little endian), the header as JSON, and the tensors' bytes one
after another. The header's ``__metadata__`` has one entry of ours: a JSON text with the format's version and what else
the model is.
"""

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from worker.engine.errors import DamagedFile

FORMAT_VERSION = 1
ENTRY = "factrfm"
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""As much as the safetensors library takes."""
TYPES = {"F64": torch.float64, "F32": torch.float32, "I64": torch.int64}


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a file that the service or an estimator wrote.

    Raises:
        DamagedFile: it is no such file, it is cut off, or it is of a newer format.
        OSError: it cannot be opened.
    """
    with Path(path).open("rb") as file:
        try:
            header, length = _header(file, Path(path).stat().st_size)
            tensors = _tensors(file, header, length)
            return tensors, _metadata(header)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DamagedFile(f"{path} is no safetensors file with a model: its header cannot be read") from error
        except DamagedFile as error:
            raise DamagedFile(f"{path}: {error}") from error


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """Return the header, and how many bytes of tensors follow it."""
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    left = size - LENGTH_BYTES - length
    if left < 0 or length > MAX_HEADER_BYTES:
        raise DamagedFile(f"it is no safetensors file, or cut off: {size} bytes have no room for a header of {length}")
    return json.loads(file.read(length)), left


def _tensors(file: BinaryIO, header: dict[str, Any], length: int) -> dict[str, Tensor]:
    entries = [(name, one) for name, one in header.items() if name != "__metadata__"]
    place, tensors = 0, {}
    for name, entry in sorted(entries, key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        shape = [int(side) for side in entry["shape"]]
        if entry["dtype"] not in TYPES:
            raise DamagedFile(f"tensor {name!r} holds {entry['dtype']}; a model's tensors hold {', '.join(TYPES)}")
        dtype = TYPES[entry["dtype"]]
        if min(shape, default=0) < 0 or begin != place or end - begin != math.prod(shape) * dtype.itemsize:
            raise DamagedFile(f"tensor {name!r} of shape {shape} does not fill the bytes {begin} to {end} of it")
        if end > length:
            raise DamagedFile(f"it is cut off: tensor {name!r} ends at byte {end} of {length}")
        tensors[name] = _tensor(file, end - begin, dtype).reshape(shape)
        place = end
    if place != length:
        raise DamagedFile(f"{length - place} bytes of it belong to no tensor")
    return tensors


def _tensor(file: BinaryIO, size: int, dtype: torch.dtype) -> Tensor:
    if size == 0:
        return torch.empty(0, dtype=dtype)
    content = bytearray(size)
    if file.readinto(content) != size:  # type: ignore[attr-defined]
        raise DamagedFile("it became shorter while it was read")
    return torch.frombuffer(content, dtype=dtype)


def _metadata(header: dict[str, Any]) -> dict[str, Any]:
    content = json.loads(header["__metadata__"][ENTRY])
    if content["format_version"] != FORMAT_VERSION:
        raise DamagedFile(f"it has format version {content['format_version']}; this program reads {FORMAT_VERSION}")
    metadata: dict[str, Any] = dict(content["metadata"])
    return metadata
