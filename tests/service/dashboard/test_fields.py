"""The form of a job knows the contract: every option, its explanation, its default, its range."""

import pytest
from pydantic import BaseModel

from service.dashboard.fields import BLOCKS_GROUPS, FIT_GROUPS, NETWORK_GROUPS, Field, grouped
from worker.contracts.specs import Blocks, FitSpec, NetworkSpec

GROUPS: dict[type[BaseModel], dict[str, tuple[str, ...]]] = {
    FitSpec: FIT_GROUPS,
    NetworkSpec: NETWORK_GROUPS,
    Blocks: BLOCKS_GROUPS,
}


def _fields(contract: type[BaseModel], given: dict[str, object] | None = None) -> dict[str, Field]:
    groups = GROUPS[contract]
    found = [field for fields in grouped(contract, "/spec", groups, given or {}).values() for field in fields]
    return {field.pointer.removeprefix("/spec/"): field for field in found}


@pytest.mark.parametrize("contract", [FitSpec, NetworkSpec, Blocks])
def test_every_option_is_in_the_form_once_and_explained(contract: type[BaseModel]) -> None:
    fields = _fields(contract)
    # those of blocks have a group of their own
    assert set(fields) == set(contract.model_fields) - {"blocks"}
    groups = GROUPS[contract]
    assert len(fields) == sum(len(names) for names in groups.values())
    assert [name for name, field in fields.items() if not field.description] == []


def test_a_field_is_what_its_type_is() -> None:
    fields = _fields(FitSpec)
    assert (fields["kernel"].kind, fields["geometric_average"].kind) == ("choice", "flag")
    assert (fields["iterations"].kind, fields["iterations"].integer) == ("number", True)
    assert fields["ridge"].kind == "text", "a number or 'auto'"
    assert "auto" in fields["ridge"].range
    assert _fields(NetworkSpec)["hidden"].listed


def test_a_form_holds_what_an_earlier_job_had_and_remembers_the_defaults() -> None:
    fields = _fields(FitSpec, {"iterations": 7, "ridge": 0.5, "bandwidth": 0.123456789, "exponent": 1.0})
    assert fields["iterations"].value == "7"
    assert fields["iterations"].default == _fields(FitSpec)["iterations"].value
    assert [fields[name].value for name in ("ridge", "bandwidth", "exponent")] == ["0.5", "0.123456789", "1"]
