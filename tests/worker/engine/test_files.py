"""A model's file is read by the engine alone, and nothing damaged is taken for a model."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.draws import examples

from worker.engine import files
from worker.engine.config import FitConfig
from worker.engine.errors import DamagedFile
from worker.engine.model import FittedModel, load
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.store.files import safetensors_io


def _fitted(kernel="laplace", classes=False, precision="float32"):
    X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    Y = X[:, :2]
    config = FitConfig(kernel=kernel, iterations=1, ridge=0.1, precision=precision)
    raw = (Y[:, 0] > 0).long() if classes else Y
    targets = ClassTargets.fit(raw, 2) if classes else RegressionTargets.fit(Y)
    *_, state = iterate(X, raw, targets, config)
    return FittedModel.from_iterate(X, state.best, config, targets), X


def _document(model):
    named, metadata = model.to_tensors()
    return safetensors_io.pack({name: one.numpy() for name, one in named.items()}, {"engine": metadata, "task": "any"})


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize(("kernel", "precision"), [("laplace", "float32"), ("quadratic", "float64")])
def test_a_stored_model_is_loaded_and_answers_exactly_the_same(tmp_path, kernel, precision, classes):
    model, X = _fitted(kernel, classes, precision)
    (tmp_path / "model").write_bytes(_document(model))
    again = load(tmp_path / "model")
    assert torch.equal(again.predict(X), model.predict(X))
    assert again.X.is_contiguous()


def test_both_readers_of_the_format_find_the_same(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(_document(_fitted()[0]))
    arrays, metadata = safetensors_io.load(path)
    own, own_metadata = files.read(path)
    assert own_metadata == metadata
    assert set(own) == set(arrays)
    assert all(torch.equal(own[name], torch.from_numpy(array)) for name, array in arrays.items())


def test_a_model_is_loaded_where_only_torch_is(tmp_path):
    (tmp_path / "model").write_bytes(_document(_fitted()[0]))
    program = (
        "import sys; from worker.engine.model import load; import torch\n"
        "print(load('model').predict(torch.zeros(1, 3)).shape)\n"
        "ours = {name.partition('.')[0] for name in sys.modules} & {'service', 'safetensors', 'pyarrow', 'pydantic'}\n"
        "assert not ours, ours\n"
        "assert all(name.startswith('worker.engine') for name in sys.modules if name.startswith('worker.'))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "[1, 2]" in run.stdout


DOCUMENT = _document(_fitted()[0])
LENGTH = int.from_bytes(DOCUMENT[:8], "little")
HEADER = json.loads(DOCUMENT[8 : 8 + LENGTH])


def _with(header, body=DOCUMENT[8 + LENGTH :]):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def _changed(**changes):
    metadata = json.loads(HEADER["__metadata__"]["factrfm"])
    engine = {**metadata["metadata"]["engine"], **changes}
    entry = json.dumps({**metadata, "metadata": {"engine": engine}})
    return _with({**HEADER, "__metadata__": {"factrfm": entry}})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "cut off"),
        (b"PK\x03\x04 a zip of a pickle", "no safetensors file"),
        (DOCUMENT[:40], "cut off"),
        (DOCUMENT[:-1], "cut off"),
        (DOCUMENT + b"\0", "1 bytes of it belong to no tensor"),
        ((2**40).to_bytes(8, "little") + DOCUMENT[8:], "no room for a header"),
        (_with([]), "header cannot be read"),
        (_with({**HEADER, "__metadata__": {}}), "header cannot be read"),
        (_with({**HEADER, "X": {**HEADER["X"], "dtype": "F16"}}), "F16"),
        (_with({**HEADER, "X": {**HEADER["X"], "shape": [3, 31]}}), "does not fill"),
        (_with({**HEADER, "X": {**HEADER["X"], "shape": [-30, -3]}}), "does not fill"),
        (_with({**HEADER, "X": {**HEADER["X"], "shape": [3, 30]}}), "do not go together"),
        (_with({**HEADER, "Z": HEADER["X"]}), "does not fill"),
        (_changed(format_version=2), "format version 2"),
        (_changed(kernel="cubic"), "cubic"),
        (_changed(bandwidth="wide"), "wide"),
        (_changed(n_classes=3), "do not go together"),
        (_with({**HEADER, "__metadata__": {"factrfm": '{"format_version": 9, "metadata": {}}'}}), "format version 9"),
        (_with({**HEADER, "__metadata__": {"factrfm": '{"format_version": 1, "metadata": {}}'}}), "'engine'"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, document, words):
    (tmp_path / "model").write_bytes(document)
    with pytest.raises(DamagedFile, match="model") as caught:
        load(tmp_path / "model")
    assert words in str(caught.value)


@settings(max_examples=examples(60))
@given(place=st.integers(0, LENGTH + 40), byte=st.integers(0, 255), kept=st.integers(0, len(DOCUMENT)))
def test_any_damage_is_a_model_or_a_damaged_file(tmp_path_factory, place, byte, kept):
    path = tmp_path_factory.mktemp("damaged") / "model"
    changed = bytearray(DOCUMENT[: kept if kept % 2 else None])
    if place < len(changed):
        changed[place] = byte
    path.write_bytes(changed)
    try:
        model = load(path)
    except DamagedFile:
        return
    assert model.X.shape == (30, 3)
