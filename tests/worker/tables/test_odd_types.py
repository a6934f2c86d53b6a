"""A column of a type that tables do not hold is refused by its name, whichever way it comes, not read as numbers."""

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.client.tables import body_of
from worker.contracts.errors import UnreadableTable
from worker.estimators import FactRFMRegressor
from worker.tables import media
from worker.tables.files.raw_table import Limits
from worker.tables.files.readers import read
from worker.tables.frames import frame_table, mapping_table
from worker.tables.values import type_of

MONTHS = pd.Series(pd.period_range("2024-01", periods=3, freq="M"))
HOURS = pd.Series(pd.to_timedelta([1, 2, 3], unit="h"))
REFUSED = {
    "period": MONTHS,
    "period with a gap": pd.Series(pd.PeriodIndex(["2024-01", None, "2024-03"], freq="M")),
    "periods as objects": MONTHS.astype(object),
    "categories of periods": MONTHS.astype("category"),
    "interval": pd.Series(pd.interval_range(0, 3)),
    "intervals as objects": pd.Series(pd.interval_range(0, 3)).astype(object),
    "categories of intervals": pd.cut(pd.Series([1, 2, 3]), 3),
    "complex": pd.Series([1 + 2j, 3, 4]),
    "complex as objects": pd.Series([1 + 2j, 3, 4], dtype=object),
    "timedelta": HOURS,
    "timedelta as objects": HOURS.astype(object),
    "timedelta of numpy": pd.Series([np.timedelta64(1, "h")] * 3, dtype=object),
    "categories of timedeltas": HOURS.astype("category"),
    "duration of Arrow": HOURS.astype("duration[ns][pyarrow]"),
    "bytes": pd.Series([b"a", b"b", b"c"]),
    "lists": pd.Series([[1], [2], [3]]),
    "objects": pd.Series([{"a": 1}] * 3),
    "fractions": pd.Series([Fraction(1, 3)] * 3),
    "uuid": pd.Series([UUID(int=number) for number in range(3)]),
}
FILES = {
    "period": MONTHS,
    "categories of periods": MONTHS.astype("category"),
    "interval": REFUSED["interval"],
    "categories of intervals": REFUSED["categories of intervals"],
    "categories of timedeltas": HOURS.astype("category"),
    "timedelta": HOURS,
    "uuid": REFUSED["uuid"],
}
READ = """
import sys
from pathlib import Path
from worker.contracts.errors import UnreadableTable
from worker.tables import media
from worker.tables.files.ingest import ingest
from worker.tables.rows.table_rows import read_rows

assert "pandas" not in sys.modules
folder = Path(sys.argv[1])
for file in sorted(folder.glob("*.*")):
    kind = media.PARQUET if file.suffix == ".parquet" else media.ARROW_FILE
    for read in (
        lambda: ingest(file, kind, folder / "table", max_cells=99, max_bytes=10**6).columns,
        lambda: read_rows(file, kind, 9),
    ):
        try:
            print(file.name, "read", read())
        except UnreadableTable as error:
            assert "'odd column' holds" in error.detail, error.detail
            print(file.name, "refused")
"""


@pytest.mark.parametrize("name", REFUSED)
def test_the_client_and_the_estimators_refuse_it(name):
    frame = pd.DataFrame({"number": [1.0, 2.0, 4.0], "odd column": REFUSED[name]})
    with pytest.raises(ValueError, match=r"'odd column'.* holds"):
        body_of(frame)
    with pytest.raises(ValueError, match=r"'odd column'.* holds"):
        FactRFMRegressor(iterations=1).fit(frame, [1.0, 2.0, 3.0])


def test_files_of_it_are_refused_also_where_its_type_is_not_known(tmp_path):
    written = 0
    for name, column in FILES.items():
        table = pa.table({"odd column": pa.Array.from_pandas(column)})
        with pa.ipc.new_file(tmp_path / f"{name}.arrow", table.schema) as writer:
            writer.write_table(table)
        written += 1
        try:
            pq.write_table(table, tmp_path / f"{name}.parquet")
        except pa.ArrowException:
            # a dictionary of a type that Arrow does not know has no place in Parquet
            (tmp_path / f"{name}.parquet").unlink(missing_ok=True)
        else:
            written += 1
    found = subprocess.run([sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, check=True)
    lines = found.stdout.splitlines()
    assert len(lines) == 2 * written
    assert [line for line in lines if not line.endswith("refused")] == []


def test_sparse_numbers_are_numbers():
    frame = pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 0.0, 1.5])})
    with body_of(frame).open() as file:
        assert pq.read_table(file).column("a").to_pylist() == ["0", "0", "1.5"]


def test_texts_under_a_name_that_arrow_does_not_know_are_texts(tmp_path):
    field = pa.field("a", pa.string(), metadata={"ARROW:extension:name": "example.word"})
    pq.write_table(pa.table({"a": pa.array(["x", "y"])}, pa.schema([field])), tmp_path / "file.parquet")
    code = READ.replace("'odd column' holds", "nothing")
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert found.stdout.count(" read ") == 2


def test_a_table_of_arrow_is_looked_at_too():
    table = pa.table({"odd column": pa.array([1, 2, 3], pa.duration("us"))})
    for refuse in (body_of, lambda table: body_of(dict(zip(table.column_names, table.columns, strict=True)))):
        with pytest.raises(ValueError, match="'odd column' holds duration"):
            refuse(table)
    with pytest.raises(ValueError, match="'odd column' holds duration"):
        FactRFMRegressor(iterations=1).fit(table, [1.0, 2.0, 3.0])


def test_an_interval_of_calendar_units_has_no_place_in_a_table():
    with pytest.raises(UnreadableTable, match=r"'odd column' holds month_day_nano_interval"):
        type_of("odd column", pa.month_day_nano_interval())


@pytest.mark.parametrize("kind", ["g", "F", "S3", "m8[s]", "V4", "i4,i4"])
@pytest.mark.parametrize("name", ["X", "y"])
def test_an_array_of_what_is_no_cell_is_named(tmp_path, name, kind):
    arrays = {"X": np.zeros((3, 2)), "y": np.zeros(3)}
    arrays[name] = np.zeros(arrays[name].shape, kind)
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(UnreadableTable, match=rf"'{name}'.* holds .*; a table holds numbers"):
        read(tmp_path / "file.npz", media.NPZ, Limits(2**20, 2**20))


@pytest.mark.parametrize("kind", [">f4", ">i8", "u1", "?", "f2", "U3", "M8[D]", "M8[h]", "M8[ms]"])
def test_an_array_of_cells_is_read(tmp_path, kind):
    np.savez(tmp_path / "file.npz", X=np.ones((3, 2), kind), y=np.zeros(3))
    table = read(tmp_path / "file.npz", media.NPZ, Limits(2**20, 2**20))
    assert sum(len(batch[0]) for batch in table.batches()) == 3


def test_a_row_longer_than_is_read_at_once_is_told_so(tmp_path):
    (tmp_path / "file.csv").write_text('a,b\n1,2\n3,"' + "x" * 2**22 + '"\n5,6\n')
    table = read(tmp_path / "file.csv", media.CSV, Limits(2**30, 2**20))
    with pytest.raises(UnreadableTable, match="a row of the CSV is longer than 1 MiB, or an open quote"):
        list(table.batches())


@pytest.mark.parametrize(
    "cells", [[2**63, 1], [1, "x"], [True, 2], [2**60 + 1, 2.5], [2**70, 1], [Decimal("1.50"), "a"]]
)
def test_a_mapping_of_columns_is_taken_as_a_data_frame_of_the_same_cells(cells):
    table = mapping_table({"c": cells})
    assert table.equals(frame_table(pd.DataFrame({"c": pd.Series(cells, dtype=object)})))
    with body_of({"c": cells}).open() as file:
        assert pq.read_table(file).column("c").to_pylist() == table.column("c").to_pylist()


@pytest.mark.parametrize("form", [mapping_table, lambda columns: frame_table(pd.DataFrame(columns, dtype=object))])
@pytest.mark.parametrize("cells", [["\ud800"], ["a", "b\udfff"]])
def test_half_a_character_is_told_by_its_column(form, cells):
    with pytest.raises(ValueError, match="column 'odd' holds half a character"):
        form({"odd": cells})
