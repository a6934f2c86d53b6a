"""Bytes of infer messages to tensors and back, and bytes that are none."""

import contextlib
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.inference.open_inference.codec import DTYPES, Output, decode, encode
from worker.contracts.errors import FactRFMError, InvalidRequest

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def message(*inputs: dict[str, Any], **further: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **further}).encode()


def tensor(name: str = "x", shape: Any = (2,), datatype: Any = "FP64", **further: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, **further}


@pytest.mark.parametrize("datatype", DTYPES)
def test_binary_values_of_every_datatype_come_out_as_they_were(datatype: str) -> None:
    values = np.array([[0, 1], [1, 0], [1, 1]], DTYPES[datatype])
    text = message(tensor(shape=(3, 2), datatype=datatype, parameters={"binary_data_size": values.nbytes}))
    [found] = decode(text + values.tobytes(), len(text)).inputs
    assert found.shape == (3, 2)
    assert found.values.to_pylist() == values.ravel().tolist()


@given(values=arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2), elements={"allow_nan": False}))
def test_json_flat_json_nested_and_binary_are_the_same_tensor(values: np.ndarray) -> None:
    shape = values.shape
    text = message(tensor(shape=shape, parameters={"binary_data_size": values.nbytes}))
    found = [
        decode(message(tensor(shape=shape, data=values.ravel().tolist())), None),
        decode(message(tensor(shape=shape, data=values.tolist())), None),
        decode(text + values.tobytes(), len(text)),
    ]
    assert all(one.inputs[0].values.equals(found[0].inputs[0].values) for one in found)


@given(texts=st.lists(TEXTS, max_size=6))
def test_texts_go_out_and_come_in_as_they_were(texts: list[str]) -> None:
    values = np.empty(len(texts), object)
    values[:] = texts
    body, length = encode({}, [Output("x", "BYTES", values, binary=True)])
    assert length is not None
    document = json.loads(body[:length])
    text = json.dumps({"inputs": document["outputs"]}).encode()
    [found] = decode(text + body[length:], len(text)).inputs
    assert found.values.to_pylist() == texts


def test_null_and_nan_are_missing_and_a_number_takes_the_precision_of_its_datatype() -> None:
    found = decode(message(tensor(shape=(3,), datatype="FP32", data=[None, math.nan, 0.1])), None).inputs[0].values
    assert np.isnan(found.to_pylist()[:2]).all()
    assert found.to_pylist()[2] == np.float32(0.1)
    assert decode(message(tensor(shape=(2,), datatype="INT64", data=[None, 7])), None).inputs[0].values.null_count == 1


def test_which_outputs_and_in_which_form() -> None:
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False, "classification": 2}}]
    body = message(tensor(data=[1, 2]), id="q", outputs=outputs, parameters={"binary_data_output": True})
    asked = decode(body, None)
    assert asked.id == "q"
    assert asked.outputs is not None
    assert [(one.name, one.binary, one.classes) for one in asked.outputs] == [("a", True, 0), ("b", False, 2)]


WRONG = {
    "more bytes than the body has": tensor(parameters={"binary_data_size": 17}),
    "fewer bytes than the shape takes": tensor(parameters={"binary_data_size": 8}),
    "bytes left over": tensor(shape=(1,), parameters={"binary_data_size": 8}),
    "a negative size": tensor(parameters={"binary_data_size": -1}),
    "a size that is no number": tensor(parameters={"binary_data_size": True}),
    "rank 0": tensor(shape=(), data=[1, 2]),
    "rank 3": tensor(shape=(1, 2, 1), data=[1, 2]),
    "a negative dimension": tensor(shape=(-1,), data=[1, 2]),
    "a dimension that is no number": tensor(shape=("2",), data=[1, 2]),
    "more elements than fit 64 bits": tensor(shape=(2**40, 2**40), parameters={"binary_data_size": 16}),
    "fewer values than the shape": tensor(data=[1]),
    "nested otherwise than the shape": tensor(shape=(2, 2), data=[[1, 2, 3], [4]]),
    "nested too deep": tensor(data=[[1], [2]]),
    "no data": tensor(),
    "another type": tensor(data=["1", "2"]),
    "a boolean for a number": tensor(data=[True, False]),
    "a fraction for a whole number": tensor(datatype="INT8", data=[1.5, 2]),
    "a number beyond the type": tensor(datatype="INT8", data=[1, 300]),
    "a number beyond every type": tensor(data=[1, 10**400]),
    "half a surrogate": tensor(datatype="BYTES", data=["a", "\ud800"]),
    "an unknown datatype": tensor(datatype="FP8", data=[1, 2]),
    "shared memory": tensor(parameters={"shared_memory_region": "x"}),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_tensor_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    text = message(wrong)
    binary = "parameters" in wrong
    with pytest.raises(InvalidRequest):
        decode(text + bytes(16) if binary else text, len(text) if binary else None)


@pytest.mark.parametrize(
    "raw",
    [struct.pack("<I", 2**32 - 1) + b"ab", b"\x01\x00", struct.pack("<I", 1) + b"\xff", struct.pack("<I", 1) + b"ab"],
    ids=["a length beyond the body", "half a length", "no UTF-8", "another number of texts"],
)
def test_texts_that_lie_are_refused(raw: bytes) -> None:
    text = message(tensor(shape=(1,), datatype="BYTES", parameters={"binary_data_size": len(raw)}))
    with pytest.raises(InvalidRequest):
        decode(text + raw, len(text))


def test_a_body_without_json_is_the_values_of_the_one_input() -> None:
    asked = decode(np.array([1.0, 2.0]).tobytes(), 0, ("x", "FP64"))
    assert asked.inputs[0].values.to_pylist() == [1.0, 2.0]
    assert asked.binary
    assert decode("Zürich".encode(), 0, ("x", "BYTES")).inputs[0].values.to_pylist() == ["Zürich"]
    for body, only in ((b"1234567", ("x", "FP64")), (b"\x02", ("x", "BOOL")), (b"", None)):
        with pytest.raises(InvalidRequest):
            decode(body, 0, only)


@given(
    inputs=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("x") | JSON_VALUES,
                "shape": st.lists(st.integers(-2, 2**70), max_size=3) | JSON_VALUES,
                "datatype": st.sampled_from([*DTYPES, "BYTES"]) | JSON_VALUES,
                "data": JSON_VALUES,
                "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(-2, 40)) | JSON_VALUES,
            },
        )
        | JSON_VALUES,
        max_size=3,
    ),
    further=st.dictionaries(st.sampled_from(["id", "parameters", "outputs"]), JSON_VALUES),
    raw=st.binary(max_size=40),
    off=st.integers(-3, 3),
)
def test_no_message_breaks_the_reader(inputs: list[Any], further: dict[str, Any], raw: bytes, off: int) -> None:
    text = json.dumps({"inputs": inputs, **further}).encode()
    for length in (None, 0, max(len(text) + off, 0)):
        with contextlib.suppress(FactRFMError):
            decode(text + raw, length, ("x", "FP64"))


@given(body=st.binary(max_size=60), length=st.none() | st.integers(0, 80))
def test_no_bytes_break_the_reader(body: bytes, length: int | None) -> None:
    with contextlib.suppress(FactRFMError):
        decode(body, length, ("x", "BYTES"))
