from itertools import product

import pytest

from worker.contracts.errors import InvalidRequest
from worker.contracts.search import SearchOption
from worker.contracts.specs import FitSpec
from worker.training import search_space


def _refused(options, **spec) -> dict[str, str]:
    """Return pointer → message of what is wrong with a space."""
    with pytest.raises(InvalidRequest) as caught:
        search_space.resolve(FitSpec(**spec), {name: SearchOption(**option) for name, option in options.items()})
    return {error.pointer: error.message for error in caught.value.errors}


@pytest.mark.parametrize(
    ("options", "spec", "pointer", "words"),
    [
        ({"rigde": {"low": 0, "high": 1}}, {}, "/search/space/rigde", "no option 'rigde'"),
        ({"a/b~": {"choices": [1]}}, {}, "/search/space/a~1b~0", "no option"),
        ({"seed": {"choices": [1, 2]}}, {}, "/search/space/seed", "splits the rows"),
        ({"ridge": {"low": -1, "high": 1}}, {}, "/search/space/ridge/low", "greater than or equal to 0"),
        ({"exponent": {"low": 1, "high": 3}}, {}, "/search/space/exponent/high", "less than or equal to 2"),
        ({"kernel": {"choices": ["laplace", "round"]}}, {}, "/search/space/kernel/choices/1", "Input should be"),
        ({"kernel": {"low": 0, "high": 1}}, {}, "/search/space/kernel", "give choices"),
        ({"standardize": {"low": 0, "high": 1}}, {}, "/search/space/standardize", "give choices"),
        (
            {"iterations": {"low": 0, "high": 3, "step": 0.5}},
            {},
            "/search/space/iterations/step",
            "must be one too, not 0.5",
        ),
        ({"patience": {"low": 1, "high": 4, "step": 1.5}}, {}, "/search/space/patience/step", "not 1.5"),
        ({"iterations": {"low": 0.5, "high": 3}}, {}, "/search/space/iterations/low", "integer"),
        ({"exponent": {"low": 1, "high": 2}}, {"kernel": "laplace"}, "/search/space/exponent", "kernel 'generalized'"),
        (
            {"exponent": {"low": 1, "high": 2}, "kernel": {"choices": ["laplace", "gaussian"]}},
            {},
            "/search/space/exponent",
            "never tries",
        ),
        ({"bandwidth_factor": {"low": 1, "high": 2}}, {"bandwidth": 3}, "/search/space/bandwidth_factor", "median"),
    ],
)
def test_what_the_spec_would_refuse_is_refused_with_its_place(options, spec, pointer, words):
    assert words in _refused(options, **spec)[pointer]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"low": 2, "high": 1}, "low must not be above high"),
        ({"low": 1}, "both low and high"),
        ({"choices": []}, "at least 1 item"),
        ({"choices": [1], "low": 1}, "either choices"),
        ({"low": 0, "high": 1, "log": True}, "above 0"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "either log or step"),
        ({"low": 0.5, "high": 2, "integer": True}, "whole"),
        ({"low": 1, "high": 2, "step": 0}, "greater than 0"),
        ({"low": 0, "high": 1, "step": 0.3}, "whole number of steps"),
        ({"low": 1, "high": float("inf")}, "finite"),
    ],
)
def test_an_option_that_contradicts_itself_is_refused(option, words):
    with pytest.raises(ValueError, match=words):
        SearchOption(**option)


def test_the_default_space_leaves_out_what_the_spec_names():
    assert set(search_space.resolve(FitSpec(), None)) == set(search_space.DEFAULT)
    assert set(search_space.resolve(FitSpec(ridge=1, update="fact"), None)) == {
        "bandwidth_factor", "encoding", "exponent", "feature_matrix", "geometric_average",
    }  # fmt: skip
    plain = {"kernel": "laplace", "update": "nfa", "bandwidth": 2, "standardize": False}
    assert set(search_space.resolve(FitSpec(**plain), None)) == {"feature_matrix", "ridge"}
    assert set(search_space.resolve(FitSpec(**plain, feature_matrix="auto"), None)) == {"feature_matrix", "ridge"}
    with pytest.raises(InvalidRequest, match="give a space"):
        search_space.resolve(FitSpec(**plain, ridge="auto", feature_matrix="full"), None)


def test_no_combination_that_the_default_space_holds_is_refused():
    spec = search_space.around(FitSpec())
    options = search_space.resolve(FitSpec(), None)
    seen = set()
    for values in product(*(option.corners for option in options.values())):
        params = {}
        for name, value in zip(options, values, strict=True):
            if search_space.applies(spec, name, params):
                params[name] = value
        seen.add(search_space.configured(spec, params).model_dump_json())
    # two ends each of three numbers, full or diagonal, plain or expanded, and nfa, fact, fact with geometric average
    assert len(seen) == 2**3 * 2 * 2 * 3


def test_every_rule_between_options_is_one_that_the_spec_knows_or_that_changes_nothing():
    others = {"agop_power": 0.5, "center_gradients": True, "geometric_average": True, "exponent": 1.0}
    parents = {"update": ("fact", "nfa"), "kernel": ("generalized", "laplace")}
    for name, value in others.items():
        parent, needed = search_space.CONDITIONS[name]
        [other] = set(parents[parent]) - {needed}
        FitSpec(**{parent: needed, name: value})
        with pytest.raises(ValueError, match=name):
            FitSpec(**{parent: other, name: value})


def test_a_drawn_option_takes_the_place_of_what_the_spec_said_and_of_what_depended_on_it():
    spec = search_space.around(FitSpec(kernel="generalized", exponent=1.9, ridge=0.5))
    changed = search_space.configured(spec, {"kernel": "laplace", "ridge": 2.0})
    assert (changed.kernel, changed.exponent, changed.ridge) == ("laplace", None, 2.0)
    assert search_space.configured(spec, {}) == spec
    assert search_space.configured(spec, search_space.values_of(spec, search_space.DEFAULT)) == spec


def test_whole_numbers_are_drawn_whole_and_dependent_options_last():
    options = search_space.resolve(
        FitSpec(),
        {
            "exponent": SearchOption(low=1, high=2),
            "kernel": SearchOption(choices=["laplace", "generalized", "laplace"]),
            "iterations": SearchOption(low=1, high=9, log=True),
        },
    )
    assert list(options) == ["iterations", "kernel", "exponent"]
    assert options["iterations"].integer
    assert not options["exponent"].integer
    assert options["kernel"].choices == ["laplace", "generalized"]
    assert search_space.resolve(FitSpec(), options) == options, "resolving twice changes nothing"


def test_a_search_begins_with_a_spec_that_leaves_nothing_to_choice():
    spec = search_space.around(FitSpec())
    assert spec.candidates() == [spec]
    assert search_space.configured(spec, {"kernel": "gaussian"}).candidates() == [
        search_space.configured(spec, {"kernel": "gaussian"})
    ]


@pytest.mark.parametrize(
    ("given", "option", "expected"),
    [
        ({}, {"encoding": {"choices": ["plain", "expanded"]}}, {"encoding": "auto", "exponent": 1.3}),
        ({}, {"encoding": {"choices": ["expanded"]}}, {"encoding": "expanded", "feature_matrix": "full"}),
        ({"encoding": "plain"}, {"encoding": {"choices": ["plain", "expanded"]}}, {"encoding": "plain"}),
        ({}, {"exponent": {"low": 0.7, "high": 2}}, {"exponent": "auto", "encoding": "plain"}),
        ({}, {"exponent": {"low": 0.7, "high": 1.2}}, {"exponent": 1.0}),
        ({}, {"exponent": {"low": 1.6, "high": 2}}, {"exponent": 1.3}),
        ({"exponent": 1.9}, {"exponent": {"low": 0.7, "high": 2}}, {"exponent": 1.9}),
        ({"kernel": "laplace"}, {"ridge": {"low": 0.1, "high": 1}}, {"exponent": None}),
        ({"update": "auto"}, {"update": {"choices": ["nfa", "fact"]}}, {"update": "auto"}),
        ({"update": "auto"}, {"ridge": {"low": 0.1, "high": 1}}, {"update": "fact"}),
    ],
)
def test_what_spec_and_space_leave_open_stays_open(given, option, expected):
    found = search_space.resolve(FitSpec(**given), {name: SearchOption(**values) for name, values in option.items()})
    spec = search_space.close_options(FitSpec(**given).resolved(), found)
    assert {name: getattr(spec, name) for name in expected} == expected
    assert search_space.around(spec).candidates() == [search_space.around(spec)]
