"""Decoding and encoding of infer messages of the Open Inference Protocol.

A message is JSON. With the binary extension the values of tensors follow the JSON, little-endian, in the order of the
tensors, and an HTTP header gives the length of the JSON. A text is four bytes of length and UTF-8. A missing value is
null, or NaN in a float type.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import InvalidRequest, UnreadableTable, pointer
from worker.contracts.json_text import parse_json
from worker.tables.files.raw_table import MAX_NAME_LENGTH

TEXT = "BYTES"
DTYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
DATATYPES = (*DTYPES, TEXT)
LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Tensor:
    """An input tensor of rank 1 or 2: ``values`` flat in row-major order, missing ones null."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: pa.Array


@dataclass(frozen=True)
class RequestedOutput:
    """A requested output. ``classes``: return so many most likely classes as texts; 0: return the values."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """A decoded request. ``outputs``: None for all; ``binary``: the form of outputs by default."""

    id: str | None
    inputs: list[Tensor]
    outputs: list[RequestedOutput] | None
    binary: bool


@dataclass(frozen=True)
class Output:
    """An output tensor; ``values`` (shape) of the datatype, texts as an object array."""

    name: str
    datatype: str
    values: np.ndarray
    binary: bool


def decode(body: bytes, json_length: int | None, only: tuple[str, str] | None = None) -> InferRequest:
    """Return the request in a body. ``json_length``: value of the header, None without it.

    ``only``: name and datatype of the only input of the model. With ``json_length`` 0 the body is its raw values.

    Raises:
        UnreadableTable: the body is not a message of the protocol.
        InvalidRequest: the message is inconsistent.
    """
    if json_length == 0:
        return _raw_values(body, only)
    if json_length is not None and json_length > len(body):
        raise UnreadableTable(f"Inference-Header-Content-Length is {json_length} and the body has {len(body)} bytes")
    document = _document(body if json_length is None else body[:json_length])
    binary = memoryview(b"" if json_length is None else body)[json_length or 0 :]
    inputs = list(_tensors(document, binary))
    parameters = _parameters(document, "")
    default = _flag(parameters, "binary_data_output", "/parameters", default=False)
    return InferRequest(_id(document), inputs, _requested_outputs(document.get("outputs"), default), default)


def encode(head: Mapping[str, Any], outputs: Sequence[Output]) -> tuple[bytes, int | None]:
    """Return a body with ``head`` and the outputs, and the length of its JSON; None if all of it is JSON."""
    described: list[dict[str, Any]] = []
    blocks: list[bytes] = []
    for output in outputs:
        description = {"name": output.name, "datatype": output.datatype, "shape": list(output.values.shape)}
        if output.binary:
            block = _packed(output)
            blocks.append(block)
            described.append({**description, "parameters": {"binary_data_size": len(block)}})
        else:
            described.append({**description, "data": output.values.ravel().tolist()})
    document = {**head, "outputs": described}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return (b"".join([text, *blocks]), len(text)) if blocks else (text, None)


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = parse_json(text)
    except ValueError as error:
        raise UnreadableTable(f"the request is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequest('the request must be an object: {"inputs": [{"name", "shape", "datatype", "data"}]}')
    return document


def _id(document: Mapping[str, Any]) -> str | None:
    value = document.get("id")
    if value is not None and not isinstance(value, str):
        raise InvalidRequest.at("/id", "id must be a text")
    _check_text(value or "", "/id")
    return value


def _check_text(text: str, place: str) -> None:
    if len(text) > MAX_NAME_LENGTH:
        raise InvalidRequest.at(place, f"the text has {len(text)} characters and at most {MAX_NAME_LENGTH} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest.at(place, "the text is no valid Unicode: it holds half a character") from error


def _parameters(document: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest.at(f"{place}/parameters", "parameters must be an object")
    checked: dict[str, Any] = parameters or {}
    if "shared_memory_region" in checked:
        raise InvalidRequest.at(f"{place}/parameters", "shared memory is not served; send the values in the body")
    return checked


def _flag(parameters: Mapping[str, Any], name: str, place: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest.at(f"{place}/{name}", f"{name} must be true or false")
    return value


def _requested_outputs(requested: Any, default: bool) -> list[RequestedOutput] | None:
    if requested is None or requested == []:
        return None
    if not isinstance(requested, list):
        raise InvalidRequest.at("/outputs", "outputs must be a list")
    if len(requested) > MAX_COLUMNS:
        raise InvalidRequest.at("/outputs", f"there are {len(requested)} outputs and at most {MAX_COLUMNS} are allowed")
    outputs: dict[str, RequestedOutput] = {}
    for index, entry in enumerate(requested):
        place = pointer("outputs", index)
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in outputs:
            raise InvalidRequest.at(place, "an output must be an object with a name, and no name come twice")
        _check_text(name, f"{place}/name")
        parameters = _parameters(entry, place)
        classes = parameters.get("classification", 0)
        if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
            raise InvalidRequest.at(f"{place}/parameters", "classification must be a number of classes")
        binary = _flag(parameters, "binary_data", f"{place}/parameters", default=default)
        outputs[name] = RequestedOutput(name, binary, classes)
    return list(outputs.values())


def _tensors(document: Mapping[str, Any], binary: memoryview) -> Iterator[Tensor]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidRequest.at("/inputs", "inputs must be a list of tensors")
    if len(inputs) > MAX_COLUMNS:
        raise InvalidRequest.at("/inputs", f"there are {len(inputs)} inputs and at most {MAX_COLUMNS} are allowed")
    names: set[str] = set()
    for index, entry in enumerate(inputs):
        place = pointer("inputs", index)
        if not isinstance(entry, dict):
            raise InvalidRequest.at(place, "an input must be an object with name, shape, datatype and data")
        name, datatype = entry.get("name"), entry.get("datatype")
        if not isinstance(name, str) or name in names:
            raise InvalidRequest.at(f"{place}/name", "an input must have a name, and no name come twice")
        _check_text(name, f"{place}/name")
        names.add(name)
        if not isinstance(datatype, str) or datatype not in DATATYPES:
            raise InvalidRequest.at(f"{place}/datatype", f"datatype must be one of {', '.join(DATATYPES)}")
        shape = _shape(entry.get("shape"), f"{place}/shape")
        size = _parameters(entry, place).get("binary_data_size")
        if size is None:
            values = _from_json(entry.get("data"), datatype, shape, place)
        else:
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary):
                raise InvalidRequest.at(
                    f"{place}/parameters/binary_data_size",
                    f"binary_data_size is {size!r} and {len(binary)} bytes of values are left in the body",
                )
            values = _from_bytes(binary[:size], datatype, shape, place)
            binary = binary[size:]
        yield Tensor(name, datatype, shape, values)
    if len(binary):
        raise InvalidRequest(f"the body has {len(binary)} bytes after the values of the last input")


def _shape(sizes: Any, place: str) -> tuple[int, ...]:
    integers = isinstance(sizes, list) and all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
    if not integers or len(sizes) not in (1, 2) or min(sizes) < 0:
        raise InvalidRequest.at(place, "shape must be [rows] or [rows, columns], of whole numbers from 0")
    return tuple(sizes)


def _count(shape: tuple[int, ...]) -> int:
    # a product of Python integers does not overflow
    return shape[0] if len(shape) == 1 else shape[0] * shape[1]


def _arrow_type(datatype: str) -> pa.DataType:
    return pa.string() if datatype == TEXT else pa.from_numpy_dtype(DTYPES[datatype])


def _from_json(data: Any, datatype: str, shape: tuple[int, ...], place: str) -> pa.Array:
    if not isinstance(data, list):
        raise InvalidRequest.at(f"{place}/data", "data must be a list, flat or nested as the shape says")
    if len(shape) == 2 and data and isinstance(data[0], list):
        rows = data
        if len(rows) != shape[0] or not all(isinstance(row, list) and len(row) == shape[1] for row in rows):
            raise InvalidRequest.at(f"{place}/data", f"data is not nested as its shape {list(shape)} says")
        data = list(chain.from_iterable(rows))
    if len(data) != _count(shape):
        raise InvalidRequest.at(
            f"{place}/data", f"data has {len(data)} values and its shape {list(shape)} {_count(shape)}"
        )
    kinds = {type(value) for value in data} - {type(None)}
    if not kinds <= _kinds(datatype):
        raise InvalidRequest.at(f"{place}/data", f"data holds values that are no {datatype}")
    try:
        if datatype.startswith("FP"):
            values = np.array([np.nan if value is None else value for value in data], np.float64)
            with np.errstate(over="ignore"):
                return pa.array(values.astype(DTYPES[datatype]))
        return pa.array(data, _arrow_type(datatype))
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, ValueError) as error:
        raise InvalidRequest.at(f"{place}/data", f"data holds a value that does not fit {datatype}: {error}") from error


def _kinds(datatype: str) -> set[type]:
    """Return the Python types of JSON values that the datatype allows."""
    if datatype.startswith("FP"):
        return {int, float}
    return {str} if datatype == TEXT else {bool} if datatype == "BOOL" else {int}


def _from_bytes(raw: memoryview, datatype: str, shape: tuple[int, ...], place: str) -> pa.Array:
    count = _count(shape)
    if datatype == TEXT:
        texts = _texts(raw, place)
        if len(texts) != count:
            raise InvalidRequest.at(place, f"the bytes hold {len(texts)} texts and the shape {list(shape)} {count}")
        try:
            return pa.array(texts, pa.binary()).cast(pa.string())
        except pa.ArrowException as error:
            raise InvalidRequest.at(place, "a text is not valid UTF-8") from error
    dtype = DTYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise InvalidRequest.at(
            place, f"the values take {len(raw)} bytes and {list(shape)} of {datatype} {count * dtype.itemsize}"
        )
    if datatype == "BOOL":
        codes = np.frombuffer(raw, np.uint8)
        if (codes > 1).any():
            raise InvalidRequest.at(place, "a BOOL is a byte 0 or 1")
        return pa.array(codes.astype(bool))
    return pa.array(np.frombuffer(raw, dtype))


def _texts(raw: memoryview, place: str) -> list[bytes]:
    texts: list[bytes] = []
    at = 0
    while at < len(raw):
        begins = at + LENGTH.size
        at = begins + LENGTH.unpack_from(raw, at)[0] if begins <= len(raw) else begins
        if at > len(raw):
            raise InvalidRequest.at(place, f"text {len(texts) + 1} is longer than the bytes that are left")
        texts.append(bytes(raw[begins:at]))
    return texts


def _raw_values(body: bytes, only: tuple[str, str] | None) -> InferRequest:
    """Return the request of a body of raw values without JSON: all outputs, binary."""
    if only is None:
        raise InvalidRequest("a body without JSON is for a model with one input, and this one has several")
    name, datatype = only
    if datatype == TEXT:
        values = _from_bytes(memoryview(LENGTH.pack(len(body)) + body), TEXT, (1,), "")
    else:
        values = _from_bytes(memoryview(body), datatype, (len(body) // DTYPES[datatype].itemsize,), "")
    return InferRequest(None, [Tensor(name, datatype, (len(values),), values)], None, binary=True)


def _packed(output: Output) -> bytes:
    if output.datatype == TEXT:
        texts = [text.encode() for text in output.values.ravel().tolist()]
        return b"".join(chain.from_iterable((LENGTH.pack(len(text)), text) for text in texts))
    return output.values.astype(DTYPES[output.datatype]).tobytes()
