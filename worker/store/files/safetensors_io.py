"""Named arrays and JSON metadata as safetensors, which run no code when they are read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from worker.contracts.errors import ArtifactCorrupt

FORMAT_VERSION = 1
HEADER = "factrfm"
"""The entry of the safetensors header that holds the format's version and the metadata."""
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
