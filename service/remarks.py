"""What of a dataset may not be as whoever uploaded it thinks."""

from collections.abc import Container

from worker.contracts.resources import Column, Dataset

SHOWN = 3
MANY, MOST_SHARE = 50, 0.5


def remarks(dataset: Dataset, without: Container[str] = ()) -> list[str]:
    """Return a sentence for each thing that a person should look at, but for columns that are left out."""
    found = [_headless(dataset)]
    found += [_remark(column, dataset.rows) for column in dataset.columns if column.name not in without]
    return [remark for remark in found if remark is not None]


def _headless(dataset: Dataset) -> str | None:
    """Tell of a first row that was taken for names and looks like a row; columns that are numbered in order do not."""
    names = [column.name for column in dataset.columns]
    if not all(map(_number, names)) or names in ([str(k + first) for k in range(len(names))] for first in (0, 1)):
        return None
    shown = ", ".join(names[:SHOWN])
    return (
        f"the names of all columns are numbers: {shown}{', …' if len(names) > SHOWN else ''}. Where that is the first "
        "row of a table without names, it is missing now; put a row of names before it"
    )


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
