"""Parameters and inputs of the estimators, validated like those of the service, and lines of their history."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import ValidationError

from worker.contracts.resources import ModelColumn
from worker.contracts.specs import FitSpec
from worker.engine.recursion import FitState
from worker.tables import values
from worker.tables.files.inference import typed_table


def spec_of(options: Mapping[str, Any]) -> FitSpec:
    """Return the spec of an estimator's parameters.

    Raises:
        ValueError: naming each parameter, its value and what would be right.
    """
    if options["solver"] == "blocks":
        raise ValueError("solver 'blocks' shares a fit among a service's workers; here it is auto, cholesky or cg")
    try:
        return FitSpec(**options)
    except ValidationError as error:
        mistakes = [
            f"{entry['loc'][0]}: {entry['msg']}, not {entry['input']!r}"
            if entry["loc"]
            else entry["msg"].removeprefix("Value error, ")
            for entry in error.errors(include_url=False)
        ]
        raise ValueError("; ".join(dict.fromkeys(mistakes))) from None


def check_device(device: str) -> None:
    """Check that this machine has a device.

    Raises:
        ValueError: it does not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be one of this machine's, such as cpu, not {device!r}: {reason}") from error


def history_line(state: FitState) -> dict[str, Any]:
    """Return an estimator's history entry for one iteration."""
    return {
        "iteration": state.current.iteration,
        "ridge": state.current.ridge,
        "bandwidth": state.current.bandwidth,
        "seconds": sum(state.timings.values()),
        **state.current.metrics,
    }


def array_table(X: np.ndarray) -> pa.Table:
    """Return a matrix (n, d) of numbers as a table; NaN is missing."""
    return pa.table({f"x{index}": pa.array(X[:, index], from_pandas=True) for index in range(X.shape[1])})


def check_dates(table: pa.Table) -> None:
    """Check that no column of a data frame holds dates or times.

    Raises:
        ValueError: naming the first that does.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_temporal(values.decoded_type(column.type)):
            raise ValueError(
                f"column {name!r} of X holds {column.type}; numbers, texts, categories and truth values can be "
                "learned from. Turn it into numbers, such as days since some date"
            )


def typed_frame(table: pa.Table) -> tuple[pa.Table, list[ModelColumn]]:
    """Return the columns of a data frame in the form of an uploaded table, and as a model reads them.

    Raises:
        ValueError: a column holds infinity.
        UnreadableTable: a column has an unsupported type.
    """
    typed, columns = typed_table(table)
    for column in columns:
        if column.type == "numeric" and pc.any(pc.is_inf(values.as_floats(typed.column(column.name)))).as_py():
            raise ValueError(f"column {column.name!r} of X contains infinity; missing values are NaN")
    return typed, columns
