"""Types of columns, and forms of files, that only all of a file tells."""

import io
import json

import pandas as pd
import pyarrow as pa
import pytest
from support.tables import as_file, take_in

from worker.contracts.errors import UnreadableTable
from worker.tables import media

LONG = 1234567890123456789


@pytest.mark.parametrize(
    ("cells", "stored"),
    [
        ([2**53 + 1, 2**53], pa.int64()),
        ([-LONG, LONG], pa.int64()),
        ([2**64 - 1, 1], pa.uint64()),
        ([2**64, 1], pa.string()),
        ([-1, 2**64 - 1], pa.string()),
        ([10**30, 10**30 + 1], pa.string()),
        ([2**53 - 1, 1], pa.float64()),
        ([2.5, 2**60], pa.float64()),
    ],
)
@pytest.mark.parametrize("kind", [media.CSV, media.JSON])
def test_integers_are_exact_however_long(tmp_path, cells, stored, kind):
    csv = "a,b\n" + "".join(f"{cell},x\n" for cell in cells)
    body = csv if kind == media.CSV else json.dumps({"columns": ["a", "b"], "rows": [[cell, "x"] for cell in cells]})
    found, table = take_in(tmp_path, body.encode(), kind)
    assert table.schema.field("a").type == stored
    assert found.columns[0].distinct == 2
    assert table.column("a").to_pylist() == ([str(cell) for cell in cells] if stored == pa.string() else cells)


def test_the_index_of_a_frame_is_marked_whether_it_has_a_name_or_not(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0], "y": [3.0, 4.0]}, index=[7, 9])
    for named, name in ((frame, "__index_level_0__"), (frame.rename_axis("id"), "id")):
        body = io.BytesIO()
        named.to_parquet(body)
        found, _ = take_in(tmp_path, body.getvalue(), media.PARQUET)
        assert {column.name: column.index for column in found.columns} == {"a": False, "y": False, name: True}
        stream = as_file(pa.Table.from_pandas(named))
        found, _ = take_in(tmp_path, stream, media.ARROW_FILE)
        assert [column.name for column in found.columns if column.index] == [name]


def test_an_arrow_file_is_read_by_its_footer_whatever_lies_before_its_first_batch(tmp_path):
    table = pa.table({"a": [1.5, 2.5], "b": ["x", "y"]})
    body = bytearray(as_file(table))
    with pa.ipc.open_stream(pa.py_buffer(bytes(body[8:]))) as reader:
        reader.schema  # noqa: B018 - the schema stands there as a stream has it, before it is overwritten
    start = bytes(body).index(b"\xff\xff\xff\xff", 16)
    body[8:start] = b"\1" * (start - 8)
    found, stored = take_in(tmp_path, bytes(body), media.ARROW_FILE)
    assert stored.to_pydict() == table.to_pydict()
    assert found.rows == 2


@pytest.mark.parametrize("size", [0, 1, 6, 10, 100, -1, -6, -10])
def test_an_arrow_file_that_was_cut_off_says_so(tmp_path, size):
    with pytest.raises(UnreadableTable):
        take_in(tmp_path, as_file(pa.table({"a": [1.5]}))[:size], media.ARROW_FILE)


def test_a_footer_that_names_a_batch_again_and_again_is_refused(tmp_path):
    table = pa.table({"a": [0.0] * 1000})
    body = io.BytesIO()
    with pa.ipc.new_file(body, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for _ in range(20):
            writer.write_table(table)
    raw = bytearray(body.getvalue())
    length = int.from_bytes(raw[-10:-6], "little")
    footer = raw[-10 - length : -10]
    with pa.ipc.open_file(pa.py_buffer(bytes(raw))) as reader:
        assert reader.num_record_batches == 20
    # the blocks lie in the footer as 24 bytes each: let all be the largest place that is named
    places = [
        at for at in range(len(footer) - 24) if int.from_bytes(footer[at + 16 : at + 24], "little") in range(8, 4000)
    ]
    first = footer[places[-1] : places[-1] + 24]
    for number in range(20):
        at = places[-1] - 24 * number
        footer[at : at + 24] = first[:8] + first[8:12] + bytes(4) + (len(raw) // 4).to_bytes(8, "little")
    raw[-10 - length : -10] = footer
    with pytest.raises(UnreadableTable):
        take_in(tmp_path, bytes(raw), media.ARROW_FILE)


def test_json_is_taken_in_the_shape_of_pandas_too(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "y": ["u", "v"]}, index=[5, 6])
    found, table = take_in(tmp_path, frame.to_json(orient="split").encode(), media.JSON)
    assert table.to_pydict() == {"a": [1.0, 2.0], "y": ["u", "v"]}
    assert found.rows == 2
    with pytest.raises(UnreadableTable, match="twice"):
        take_in(tmp_path, b'{"columns": ["a"], "rows": [[1]], "data": [[2]]}', media.JSON)
