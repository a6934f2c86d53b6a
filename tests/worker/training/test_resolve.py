import pytest

from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import FitRequest, Validation
from worker.contracts.specs import Blocks
from worker.tables.encoding import splits
from worker.training.resolve import check_leaves, split_sizes

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


@pytest.mark.parametrize("rows", [2, 3, 4, 5, 10, 1000])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.95, 0.999])
def test_sizes_are_those_of_the_split(rows: int, fraction: float) -> None:
    request = _request().model_copy(update={"validation": Validation(fraction=fraction)})
    training, held_out = splits.holdout(rows, fraction, 0)
    assert split_sizes(request, rows, None) == (len(training), len(held_out))
