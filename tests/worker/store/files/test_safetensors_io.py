"""Arrays and metadata come back as they went, and anything else is refused."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from worker.contracts.errors import ArtifactCorrupt
from worker.store.files import safetensors_io

METADATA = {"names": ["a", "é🎉"], "ridge": 0.1, "none": None, "nested": {"x": [1, 2.5]}}


@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=5),
        st.sampled_from(["float32", "float64", "int64", "bool", "uint8"]).flatmap(
            lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
        ),
        max_size=4,
    )
)
def test_arrays_come_back_bit_for_bit(named: dict[str, np.ndarray]) -> None:
    stored, metadata = safetensors_io.unpack(safetensors_io.pack(named, METADATA))
    assert metadata == METADATA
    assert set(stored) == set(named)
    for name, array in named.items():
        assert stored[name].dtype == array.dtype
        np.testing.assert_array_equal(stored[name], array)
        assert stored[name].flags.writeable


def test_a_file_and_a_document_are_the_same(tmp_path: Path) -> None:
    named = {"M": np.arange(12.0).reshape(3, 4).T, "column": np.arange(10.0)[::2]}
    path = tmp_path / "model.safetensors"
    safetensors_io.save(path, named, METADATA)
    assert path.read_bytes() == safetensors_io.pack(named, METADATA)
    stored, metadata = safetensors_io.load(path)
    assert metadata == METADATA
    np.testing.assert_array_equal(stored["M"], named["M"])
    np.testing.assert_array_equal(stored["column"], named["column"])
    assert stored["M"].flags.writeable


def refused(document: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(document)
    with pytest.raises(ArtifactCorrupt):
        safetensors_io.unpack(document)
    with pytest.raises(ArtifactCorrupt):
        safetensors_io.load(path)


def test_what_is_no_such_document_is_refused(tmp_path: Path) -> None:
    whole = safetensors_io.pack({"a": np.zeros(3)}, {})
    for document in (b"", b"no tensors", whole[:-1], whole[:20], b"\xff" * 100, b"\x80\x04N."):
        refused(document, tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    arrays_ = {"a": np.zeros(3)}
    for header in (
        None,
        {},
        {"format_version": "1", "metadata": "{}"},
        {"factrfm": "{"},
        {"factrfm": "[]"},
        {"factrfm": '{"metadata": {}}'},
        {"factrfm": '{"format_version": 1}'},
        {"factrfm": '{"format_version": 2, "metadata": {}}'},
        {"factrfm": '{"format_version": 1, "metadata": []}'},
    ):
        refused(safetensors.numpy.save(arrays_, header), tmp_path)


def test_metadata_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        safetensors_io.pack({}, {"x": float("nan")})
