"""Named arrays and JSON metadata as safetensors, which run no code when they are read."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import safetensors
import safetensors.numpy

from worker.contracts.errors import ArtifactCorrupt

FORMAT_VERSION = 1
HEADER = "factrfm"
"""The entry of the safetensors header that holds the format's version and the metadata."""
TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U8": "|u1"}
MAX_HEADER_BYTES = 64 * 2**20
LENGTH_BYTES = 8
"""A safetensors file begins with the length of its JSON header, little endian."""


def pack(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bytes:
    """Return a safetensors document. ``metadata`` must be JSON-serialisable and finite."""
    return safetensors.numpy.save(_contiguous(tensors), _header(metadata))


def unpack(document: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays, writable, and the metadata of a document that ``pack`` made.

    Raises:
        ArtifactCorrupt: it is not such a document, or of a newer format.
    """
    try:
        stored = safetensors.numpy.load(document)
        length = int.from_bytes(document[:LENGTH_BYTES], "little")
        header = json.loads(document[LENGTH_BYTES : LENGTH_BYTES + length]).get("__metadata__")
    except (safetensors.SafetensorError, ValueError) as error:
        raise ArtifactCorrupt(f"the stored tensors cannot be read: {error}") from error
    return {name: np.array(array) for name, array in stored.items()}, _metadata(header)


def save(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file. ``metadata`` must be JSON-serialisable and finite."""
    safetensors.numpy.save_file(_contiguous(tensors), path, _header(metadata))


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays, writable, and the metadata of a file that ``save`` wrote.

    Raises:
        ArtifactCorrupt: it is not such a file, or of a newer format.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            stored = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no mapping
            header = file.metadata()
    except safetensors.SafetensorError as error:
        raise ArtifactCorrupt(f"the stored tensors cannot be read: {error}") from error
    return stored, _metadata(header)


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a safetensors file are: type, shape, and the place of the first byte, by name."""

    arrays: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]
    metadata: dict[str, Any]

    @classmethod
    def of(cls, file: BinaryIO) -> "Layout":
        """Return the layout of an open file that this module wrote. Memory is that of its header.

        Raises:
            ArtifactCorrupt: it is no such file, or of a newer format.
        """
        try:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"the header would have {length} bytes")
            header = json.loads(file.read(length))
            metadata = _metadata(header.pop("__metadata__", None))
            start = LENGTH_BYTES + length
            arrays = {
                name: (np.dtype(TYPES[entry["dtype"]]), tuple(entry["shape"]), start + entry["data_offsets"][0])
                for name, entry in header.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtifactCorrupt(f"the stored tensors cannot be read: {error!r}") from error
        return cls(arrays, metadata)

    def part(self, name: str, start: int = 0, stop: int | None = None) -> tuple[int, int]:
        """Return where the bytes of some rows of an array begin, and how many they are; all of them by default."""
        dtype, shape, first = self.arrays[name]
        row = dtype.itemsize * math.prod(shape[1:])
        if not shape:
            return first, dtype.itemsize
        return first + row * start, row * ((shape[0] if stop is None else stop) - start)

    def array(self, name: str, content: bytes, rows: int | None = None) -> np.ndarray:
        """Return the array of the bytes of ``part``, writable; ``rows``: as many as were taken, None for all."""
        dtype, shape, _ = self.arrays[name]
        return np.frombuffer(content, dtype).reshape(shape if rows is None else (rows, *shape[1:])).copy()


class LargeFile:
    """Writes a safetensors file whose largest arrays come row by row, so that they are never wholly in memory.

    ``arrays``: the others. ``large``: type and shape of those that ``put`` fills.
    """

    def __init__(
        self,
        path: Path,
        arrays: Mapping[str, np.ndarray],
        large: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
        metadata: Mapping[str, Any],
    ) -> None:
        small = _contiguous(arrays)
        shapes = {**{name: (array.dtype, array.shape) for name, array in small.items()}, **large}
        header: dict[str, Any] = {"__metadata__": _header(metadata)}
        stop = 0
        # the widest types first: then each lies at a multiple of its width
        for name, (dtype, shape) in sorted(shapes.items(), key=lambda item: (-item[1][0].itemsize, item[0])):
            start, stop = stop, stop + dtype.itemsize * math.prod(shape)
            code = next(code for code, known in TYPES.items() if np.dtype(known) == dtype)
            header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, stop]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % LENGTH_BYTES)
        self._file = path.open("w+b")
        self._file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        self._file.truncate(LENGTH_BYTES + len(text) + stop)
        self._file.seek(0)
        self._layout = Layout.of(self._file)
        for name, array in small.items():
            self._write(name, 0, array)

    def put(self, name: str, start: int, rows: np.ndarray) -> bytes:
        """Write rows of a large array, the first of them at row ``start``. Returns their bytes."""
        return self._write(name, start, np.asarray(rows, self._layout.arrays[name][0]))

    def _write(self, name: str, start: int, rows: np.ndarray) -> bytes:
        content = np.ascontiguousarray(rows).tobytes()
        self._file.seek(self._layout.part(name, start)[0])
        self._file.write(content)
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def blocks(path: Path, name: str, rows: int) -> Iterator[np.ndarray]:
    """Yield one array of a safetensors file in blocks of ``rows`` rows, so that it is never wholly in memory.

    Raises:
        ArtifactCorrupt: it is no such file, or has no such array.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            array = file.get_slice(name)
            count = array.get_shape()[0]
            for start in range(0, count, rows):
                yield array[start : min(start + rows, count)]
    except safetensors.SafetensorError as error:
        raise ArtifactCorrupt(f"the stored tensors cannot be read: {error}") from error


def _contiguous(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array, order="C") for name, array in tensors.items()}


def _header(metadata: Mapping[str, Any]) -> dict[str, str]:
    # One entry only: safetensors does not fix the order of entries, and equal models should have equal bytes.
    content = {"format_version": FORMAT_VERSION, "metadata": dict(metadata)}
    return {HEADER: json.dumps(content, allow_nan=False)}


def _metadata(header: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        content = json.loads((header or {})[HEADER])
        version, metadata = content["format_version"], content["metadata"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt("the stored tensors lack the metadata that this program writes") from error
    if version != FORMAT_VERSION or not isinstance(metadata, dict):
        raise ArtifactCorrupt(f"the stored tensors have format version {version}; this program reads {FORMAT_VERSION}")
    return metadata
