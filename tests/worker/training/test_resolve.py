import pytest

from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import FitRequest
from worker.contracts.specs import Blocks
from worker.training.resolve import check_leaves

DATASET = "ds_01m88cmx1f6exce07mf7jxr6tf"


def _request(**blocks: float) -> FitRequest:
    return FitRequest.model_validate(
        {"kind": "fit", "dataset": DATASET, "target": "y", "spec": {"solver": "blocks", "blocks": blocks}}
    )


def test_a_tree_of_too_many_leaves_is_refused_before_it_grows() -> None:
    check_leaves(_request(), 1_000_000)
    with pytest.raises(InvalidRequest, match=r"make about \d+ leaves, and at most 20000 are allowed") as refused:
        check_leaves(_request(leaf=100, overlap=0.25), 1_000_000)
    assert refused.value.errors[0].pointer == "/spec/blocks/leaf"


@pytest.mark.parametrize(
    ("rows", "leaf", "overlap", "leaves"), [(100, 100, 0.1, 1), (2000, 100, 0.1, 64), (8, 1, 0, 8)]
)
def test_leaves_are_counted_with_their_overlap(rows: int, leaf: int, overlap: float, leaves: int) -> None:
    assert Blocks.model_construct(leaf=leaf, overlap=overlap).leaves(rows) == leaves
