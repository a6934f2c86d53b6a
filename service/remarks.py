"""What of a dataset may not be as whoever uploaded it thinks."""

from collections.abc import Container

from worker.contracts.resources import Column, Dataset

SHOWN = 3
MANY, MOST_SHARE = 50, 0.5


def remarks(dataset: Dataset, without: Container[str] = ()) -> list[str]:
    """Return a sentence for each column that a person should look at, but for those that are left out."""
    found = (_remark(column, dataset.rows) for column in dataset.columns if column.name not in without)
    return [remark for remark in found if remark is not None]


def _remark(column: Column, rows: int) -> str | None:
    if column.not_numbers:
        odd = column.not_numbers
        shown = ", ".join(f"{str(one.value)!r} ({one.count})" for one in odd[:SHOWN])
        return (
            f"{column.name!r} is read as categories, for not all of its values are numbers: {shown}"
            f"{', …' if len(odd) > SHOWN else ''}. Where that means missing, leave the cell empty or write NA; write "
            "numbers with a point and no other signs"
        )
    if column.type == "categorical" and column.distinct > max(MANY, MOST_SHARE * rows):
        return (
            f"{column.name!r} has {column.distinct} different texts in {rows} rows, each of them a category. Leave the "
            "column out of a fit where it names the rows; make numbers of it where it holds dates"
        )
    return None
