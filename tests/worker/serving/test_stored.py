import numpy as np
import pyarrow as pa
import pytest
import torch

from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing, InvalidRequest
from worker.contracts.resources import ModelColumn
from worker.engine.blocks.fit import fit_blocks
from worker.engine.blocks.tree import MAX_LEAVES
from worker.engine.config import FitConfig
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.serving.explanation import explain
from worker.serving.model import ServedModel, load
from worker.serving.onnx import export
from worker.serving.onnx.export import onnx_document
from worker.serving.stored import KeptMachines, load_model, write_model
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import Layout, pack
from worker.tables.encoding.encoder import Encoder

GENEROUS = 10**9


@pytest.fixture(params=["regression", "classification"])
def served(request):
    rng = np.random.default_rng(0)
    table = pa.table({name: rng.normal(size=600) for name in "abc"})
    features = _columns("abc")
    encoder = Encoder.fit(table, features, standardize=True, normalize_rows=False)
    X = torch.from_numpy(encoder.encode(table))
    Y = (X[:, :1] * X[:, 1:2]).sin()
    classes = None
    targets = RegressionTargets.fit(Y)
    if request.param == "classification":
        Y, classes = (Y.squeeze(1) > 0).long(), ["high", "low"]
        targets = ClassTargets.fit(Y, 2)
    fitted = fit_blocks(X, Y, targets, FitConfig(iterations=1), 150, 3, 200)
    assert fitted.tree.leaves > 2
    return ServedModel(encoder, fitted, request.param, classes, features, _columns("y")), X


def _columns(names):
    return [ModelColumn(name=name, type="numeric") for name in names]


def _stored(served, tmp_path):
    model = served.fitted
    path = tmp_path / "model.safetensors"
    write_model(path, served, (*model.leaves, *model.blocks), model.head)
    artifacts = Artifacts(str(tmp_path / "storage"))
    return artifacts, artifacts.put_file("models/a/model.safetensors", path), path


class Counting(KeptMachines):
    def __init__(self, max_bytes):
        super().__init__(max_bytes)
        self.read = []

    def __call__(self, number, read):
        def counted():
            self.read.append(number)
            return read()

        return super().__call__(number, counted)


def test_a_model_that_is_read_piece_by_piece_answers_to_the_bit_as_it_did(served, tmp_path):
    served, X = served
    artifacts, ref, path = _stored(served, tmp_path)
    kept = Counting(GENEROUS)
    stored = load_model(artifacts, ref, kept)
    assert kept.read == []
    assert (stored.features, stored.targets, stored.classes, stored.encoder) == (
        served.features,
        served.targets,
        served.classes,
        served.encoder,
    )
    for rows in (X[:1], X[100:300]):
        assert torch.equal(stored.fitted.raw(rows), served.fitted.raw(rows))
        assert torch.equal(load(path).fitted.raw(rows), served.fitted.raw(rows))
    assert len(kept.read) == len(set(kept.read)) <= len(served.fitted.leaves) + len(served.fitted.blocks)
    assert stored.fitted.leaves.rows == tuple(len(leaf.X) for leaf in served.fitted.leaves)


def test_a_row_reads_the_leaves_that_answer_it_and_no_others(served, tmp_path):
    served, X = served
    artifacts, ref, _ = _stored(served, tmp_path)
    kept = Counting(GENEROUS)
    load_model(artifacts, ref, kept).fitted.raw(X[:1])
    leaves = [number for number in kept.read if number < served.fitted.tree.leaves]
    assert 1 <= len(leaves) <= 3


def test_machines_that_find_no_room_are_read_again_and_answer_alike(served, tmp_path):
    served, X = served
    artifacts, ref, _ = _stored(served, tmp_path)
    for max_bytes in (1, 30_000):
        stored = load_model(artifacts, ref, Counting(max_bytes))
        for _ in range(2):
            assert torch.equal(stored.fitted.raw(X[:50]), served.fitted.raw(X[:50]))


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9, 0.99])
def test_a_flipped_bit_is_noticed_when_the_model_or_its_machine_is_read(served, tmp_path, place):
    served, X = served
    artifacts, ref, path = _stored(served, tmp_path)
    stored = load_model(artifacts, ref, Counting(GENEROUS))
    file = tmp_path / "storage" / ref.key
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactCorrupt):
        load_model(Artifacts(str(tmp_path / "storage")), ref, Counting(GENEROUS))
    rows = layout_rows(path)
    if rows[0] <= int(place * len(content)) < rows[1]:
        with pytest.raises(ArtifactCorrupt, match="another checksum"):
            stored.fitted.raw(X)
    else:
        # what was read already is not read again
        assert torch.equal(stored.fitted.raw(X), served.fitted.raw(X))


def layout_rows(path):
    """Return where the bytes of X and alpha begin and end."""
    with path.open("rb") as file:
        layout = Layout.of(file)
    parts = [layout.part(name) for name in ("X", "alpha")]
    return min(start for start, _ in parts), max(start + length for start, length in parts)


def test_a_file_of_before_that_has_no_checksums_is_read_whole(served, tmp_path):
    served, X = served
    artifacts = Artifacts(str(tmp_path / "storage"))
    ref = artifacts.put_bytes("models/a/model.safetensors", pack(*served.to_tensors()))
    stored = load_model(artifacts, ref, Counting(0))
    assert torch.equal(stored.fitted.raw(X), served.fitted.raw(X))


def test_a_file_that_is_none_says_so(tmp_path):
    artifacts = Artifacts(str(tmp_path))
    for content in (b"", b"abc", b"\xff" * 200, (5).to_bytes(8, "little") + b"nonsense"):
        ref = artifacts.put_bytes("models/a/model.safetensors", content)
        with pytest.raises(ArtifactCorrupt):
            load_model(artifacts, ref, Counting(0))
    missing = ref.model_copy(update={"key": "models/b/model.safetensors"})
    with pytest.raises(ArtifactMissing, match="has no file"):
        load_model(artifacts, missing, Counting(0))


def test_a_stored_model_is_explained_by_the_machines_that_answer_and_exported_as_it_was(served, tmp_path, monkeypatch):
    served, _ = served
    artifacts, ref, _ = _stored(served, tmp_path)
    kept = Counting(GENEROUS)
    stored = load_model(artifacts, ref, kept)
    rows = pa.table({name: [0.5] for name in "abc"})
    explained = explain(stored, rows, 4)
    assert len(kept.read) <= MAX_LEAVES + len(served.fitted.blocks)
    assert explained == explain(served, rows, 4)
    with monkeypatch.context() as bounds:
        bounds.setattr(export, "MAX_BYTES", 1000)
        fresh = Counting(GENEROUS)
        with pytest.raises(InvalidRequest, match="at most 1000"):
            onnx_document(load_model(artifacts, ref, fresh), "m", "", "0.0")
        assert not fresh.read
    assert onnx_document(stored, "m", "", "0.0") == onnx_document(served, "m", "", "0.0")
