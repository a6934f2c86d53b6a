"""The form of a search's space offers every option that a search may try, with its default range or values."""

from typing import Any

from service.dashboard.search_space import OptionForm, meanings, space_form
from worker.contracts.search import SearchOption
from worker.contracts.specs import FitSpec
from worker.training.search_space import DEFAULT, SHARED, resolve


def _by_name(given: dict[str, Any] | None = None) -> dict[str, OptionForm]:
    return {one.option.pointer.removeprefix("/search/space/"): one for one in space_form(given)}


def _sent(one: OptionForm) -> dict[str, Any]:
    """Return what the form sends of an option as it is shown first."""
    if one.mode == "choices":
        words: dict[str, Any] = {"true": True, "false": False}
        return {"choices": [words.get(text, text) for text in one.choices.value.split(", ")]}
    values = {field.pointer.rsplit("/", 1)[1]: field.value for field in one.range if field.value}
    return {name: True if value == "true" else float(value) for name, value in values.items()}


def test_every_option_that_may_be_searched_is_there_and_explained() -> None:
    options = _by_name()
    assert set(options) == set(FitSpec.model_fields) - set(SHARED)
    assert all(one.option.description for one in options.values())
    assert {name for name, one in options.items() if one.ticked} == set(DEFAULT)


def test_what_is_shown_first_is_the_default_space() -> None:
    sent = {name: SearchOption.model_validate(_sent(one)) for name, one in _by_name().items() if one.ticked}
    assert resolve(FitSpec(), sent) == resolve(FitSpec(), None)


def test_options_that_are_no_numbers_have_lists_alone_and_leave_nothing_to_choice() -> None:
    options = _by_name()
    assert options["kernel"].range == []
    assert options["encoding"].choices.value == "plain, expanded"
    assert options["standardize"].choices.value == "false, true"


def test_each_input_of_an_option_is_explained() -> None:
    assert list(meanings(space_form(None))) == ["low", "high", "log", "step", "choices"]
    whole = space_form({"ridge": {"low": 1, "high": 9, "integer": True}})
    assert "Whole numbers only" in meanings(whole)["integer"]
    assert [field.value for field in whole[0].range] == ["1", "9", "", "", "true"]


def test_a_space_that_was_given_is_shown_as_it_was() -> None:
    given = {"ridge": {"choices": [0.1, 1]}, "patience": {"choices": [None, 3]}, "iterations": {"low": 1, "high": 9}}
    options = _by_name({name: SearchOption.model_validate(one).model_dump() for name, one in given.items()})
    assert [name for name, one in options.items() if one.ticked] == list(given)
    assert (options["ridge"].mode, options["ridge"].choices.value) == ("choices", "0.1, 1")
    assert options["patience"].choices.value == "null, 3"
    assert [field.value for field in options["iterations"].range] == ["1", "9", "", ""]
    assert not options["update"].ticked
