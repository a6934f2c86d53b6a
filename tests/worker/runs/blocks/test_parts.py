import pytest
import torch

from worker.contracts.messages import LeafOrder, MachineOrder
from worker.contracts.parts import LeafWork, MachineWork
from worker.contracts.specs import FitSpec
from worker.engine.blocks import answers
from worker.engine.blocks.machines import refit_leaf
from worker.engine.config import FitConfig
from worker.engine.targets import RegressionTargets
from worker.runs.blocks import parts
from worker.runs.blocks.parts import PartRows, RoundState, stored_leaf
from worker.store.files.artifacts import Artifacts
from worker.training.machine import Machine

SPEC = FitSpec(kernel="laplace", ridge=0.1)
CPU = Machine(torch.device("cpu"), None)
ABOUT = {"job": "job_1", "attempt": 1, "origin": {}, "prefix": "job_1/1"}


def _rows(n, seed):
    X = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return X, X[:, :1] * X[:, 1:2]


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(str(tmp_path))


@pytest.mark.parametrize("joining", [0, 20])
def test_rows_that_join_a_leaf_are_all_that_blocks_answer_once_more(artifacts, monkeypatch, joining):
    asked = []

    def counted(machines, X, own):
        asked.append(len(X))
        return answers.mean_outputs(machines, X, own)

    monkeypatch.setattr(parts, "mean_outputs", counted)
    Xb, Yb = _rows(90, 1)
    X, Y = _rows(60 + joining, 2)
    targets = RegressionTargets.fit(Y)
    M, config = torch.eye(3, dtype=torch.float64), FitConfig(**SPEC.engine_options())

    def put(name, content):
        return artifacts.put_bytes(f"jobs/{name}.safetensors", content)

    common = put("round", RoundState(M, targets, config).packed(SPEC))
    numbers = torch.arange(90)
    of_block = put("block", PartRows(Xb, Yb, numbers).packed())
    work = MachineWork(state=common, rows=of_block, number=0, ridge=0.1)
    block = parts.block_machine(MachineOrder(**ABOUT, work=work), artifacts, CPU).result.file
    common = put("leaves", RoundState(M, targets, config, (block,)).packed(SPEC))
    own = torch.full((len(X),), -1)
    rows = put("leaf", PartRows(X, Y, numbers[: len(X)], own, training=60).packed())
    first = parts.leaf(LeafOrder(**ABOUT, work=LeafWork(state=common, rows=rows, number=0)), artifacts, CPU)
    assert first.result.rows == asked.pop() == 60
    work = LeafWork(state=common, rows=rows, number=0, fitted=first.result.file, share=0.5)
    again = parts.leaf(LeafOrder(**ABOUT | {"prefix": "job_1/2"}, work=work), artifacts, CPU)
    assert asked == [joining][: bool(joining)]
    assert again.result.rows == len(X)
    base = answers.mean_outputs([stored_leaf(block, artifacts).leaf.alone.model.raw], X)
    fitted = stored_leaf(first.result.file, artifacts).leaf
    expected = refit_leaf(X, Y, targets, config, M, config.seed, fitted, 0.5, base)
    found = stored_leaf(again.result.file, artifacts).leaf.alone
    torch.testing.assert_close(found.model.raw(X), expected.model.raw(X), rtol=1e-4, atol=1e-4)
