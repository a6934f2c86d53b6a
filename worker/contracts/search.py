"""The space of a search: options of the training spec with their possible values."""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from worker.contracts.base import Contract

MAX_CHOICES = 20
MAX_OPTIONS = 100
MAX_TRIALS = 1000
MAX_STEPS = 1_000_000

MAX_CHOICE_LENGTH = 100
OptionValue = StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=MAX_CHOICE_LENGTH)] | None
"""A value of an option of the training spec."""


class SearchOption(Contract):
    """The values of one option: numbers from ``low`` to ``high``, or one of ``choices``."""

    low: float | None = Field(None, description="The least value.")
    high: float | None = Field(None, description="The largest value.")
    log: bool = Field(False, description="Draw evenly between the logarithms of low and high.")
    step: Annotated[float, Field(gt=0)] | None = Field(None, description="Only low, low + step, low + 2 step, …")
    integer: bool = Field(False, description="Whole numbers only; options that are whole numbers have it set.")
    choices: Annotated[list[OptionValue], Field(min_length=1, max_length=MAX_CHOICES)] | None = Field(
        None, description="The values to choose from."
    )

    @property
    def corners(self) -> list[OptionValue]:
        """The choices, or the least and the largest number."""
        if self.choices is not None:
            return list(self.choices)
        return [int(end) if self.integer else end for end in (self.low, self.high) if end is not None]

    def holds(self, value: OptionValue | None) -> bool:
        """Return whether a value is one of the choices, or lies between low and high."""
        if self.choices is not None:
            return value in self.choices
        return isinstance(value, int | float) and (self.low or 0.0) <= value <= (self.high or 0.0)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.step is not None or self.integer:
                raise ValueError("give either choices, or low and high")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give either choices, or both low and high")
        if self.low > self.high:
            raise ValueError(f"low must not be above high; got low {self.low:g} and high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0; got {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("give either log or step")
        if self.step is not None and self.high - self.low > MAX_STEPS * self.step:
            raise ValueError(f"step must be at least the {MAX_STEPS:,}th part of high less low; got {self.step:g}")
        if self.step is not None and (Decimal(str(self.high)) - Decimal(str(self.low))) % Decimal(str(self.step)):
            raise ValueError("high must be a whole number of steps above low")
        if self.integer and not all(value is None or value.is_integer() for value in (self.low, self.high, self.step)):
            raise ValueError("low, high and step of whole numbers must be whole")
        return self


class Search(Contract):
    """How to search for the best spec."""

    trials: int = Field(
        30,
        ge=1,
        le=MAX_TRIALS,
        description="Fits to try. The first is what a fit would choose: short runs on a part of the rows decide what "
        "spec and space leave open of encoding, form of M, exponent and update.",
    )
    space: Annotated[dict[str, SearchOption], Field(min_length=1, max_length=MAX_OPTIONS)] | None = Field(
        None,
        description="Option of the spec → its values. Null: bandwidth_factor, encoding, exponent, feature_matrix, "
        "geometric_average, ridge and update, without those that the spec names.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the draws. The same seed draws the same trials.")
