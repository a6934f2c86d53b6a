"""What of a dataset may not be as whoever uploaded it thinks."""

from collections.abc import Sequence

from worker.contracts.resources import Column

SHOWN = 3


def remarks(columns: Sequence[Column]) -> dict[str, str]:
    """Return a sentence for each column that a person should look at, by its name."""
    return {column.name: _not_numeric(column) for column in columns if column.not_numbers}


def _not_numeric(column: Column) -> str:
    odd = column.not_numbers or []
    shown = ", ".join(f"{str(one.value)!r} ({one.count})" for one in odd[:SHOWN])
    return (
        f"{column.name!r} is read as categories, for not all of its values are numbers: {shown}"
        f"{', …' if len(odd) > SHOWN else ''}. Where that means missing, leave the cell empty or write NA"
    )
