"""What rows to validate on also chose, by what was asked."""

import pytest

from worker.contracts.requests import FitRequest, NetworkRequest, TuneRequest
from worker.contracts.validation import in_words, validation_chose

DATASET = "ds_01jd0000000000000000000000"
CLOSED = {"encoding": "plain", "feature_matrix": "full", "exponent": 1, "ridge": 0.1}


def _chose(kind=FitRequest, spec=None, **options):
    request = kind(dataset=DATASET, target="y", **({"spec": spec} if spec else {}), **options)
    if kind is not NetworkRequest:
        request = request.model_copy(update={"spec": request.spec.resolved()})
    return validation_chose(request.model_dump())


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ({}, ["encoding", "feature_matrix", "exponent", "ridge", "iteration"]),
        ({"update": "auto"}, ["encoding", "feature_matrix", "exponent", "update", "ridge", "iteration"]),
        (CLOSED, ["iteration"]),
        ({**CLOSED, "iterations": 0}, []),
        ({**CLOSED, "update": "none"}, []),
        ({**CLOSED, "update": "none", "ridge": "auto"}, ["ridge"]),
        ({"update": "none", "kernel": "laplace"}, ["encoding", "ridge"]),
    ],
)
def test_what_a_spec_leaves_open_is_chosen_by_the_rows_held_out(spec, chosen):
    assert _chose(spec=spec) == chosen
    assert _chose(spec=spec, validation={"folds": 3}) == chosen
    assert _chose(spec=spec, validation=None) == []


def test_a_search_also_chooses_all_that_its_space_holds():
    space = {"bandwidth_factor": {"low": 1, "high": 3}, "iterations": {"choices": [0, 3]}}
    spec = {**CLOSED, "iterations": 0}
    assert _chose(TuneRequest, spec, search={"trials": 3, "space": space}) == ["bandwidth_factor", "iteration"]


def test_validation_rows_of_a_network_choose_nothing():
    assert _chose(NetworkRequest) == []


def test_names_of_options_are_said_as_a_sentence_has_them():
    assert in_words([]) == ""
    assert in_words(["ridge"]) == "the ridge"
    assert in_words(["feature_matrix", "ridge", "iteration"]) == "the feature matrix, the ridge and the iteration"
