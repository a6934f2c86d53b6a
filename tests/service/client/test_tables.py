"""Tables go out in a form that the service reads, and answers come back in the form of what was asked."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from service.client.tables import body_of, read_answer, rows_of
from worker.tables.media import XLSX


def _answer(**columns: list[object]) -> bytes:
    table = pa.table(columns)
    target = io.BytesIO()
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue()


ANSWER = _answer(y=["a", "b"], **{"probability:a": [0.9, 0.2], "probability:b": [0.1, 0.8]})


def test_a_frame_comes_back_as_a_frame_with_its_index() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "c": ["u", None]}, index=["first", "second"])
    body = body_of(frame)
    sent = pq.read_table(body.open())
    assert sent.column_names == ["x", "c"]
    found = read_answer(ANSWER, body, probabilities=False)
    assert found.index.tolist() == ["first", "second"]
    assert found.to_dict("list") == {"y": ["a", "b"]}
    assert list(read_answer(ANSWER, body, probabilities=True).columns) == ["y", "probability:a", "probability:b"]
    with pytest.raises(ValueError, match="no probabilities"):
        read_answer(_answer(y=[1.0, 2.0]), body, probabilities=True)


def test_arrays_come_back_as_arrays() -> None:
    rows = np.arange(4.0).reshape(2, 2)
    body = body_of(rows)
    assert np.array_equal(np.load(body.open(), allow_pickle=False), rows)
    assert read_answer(ANSWER, body, probabilities=False).tolist() == ["a", "b"]


def test_columns_and_arrow_tables_keep_their_kind() -> None:
    assert read_answer(ANSWER, body_of({"x": [1, 2]}), probabilities=False) == {"y": ["a", "b"]}
    assert isinstance(read_answer(ANSWER, body_of(pa.table({"x": [1, 2]})), probabilities=False), pa.Table)


@pytest.mark.parametrize(
    ("name", "media_type", "encoding"),
    [
        ("houses.csv", "text/csv", None),
        ("houses.CSV.gz", "text/csv", "gzip"),
        ("houses.parquet", "application/vnd.apache.parquet", None),
        ("houses.npz", "application/x-npz", None),
        ("houses.XLSX", XLSX, None),
        ("houses.ndjson.zst", "application/x-ndjson", "zstd"),
    ],
)
def test_a_file_is_told_by_its_name(tmp_path: Path, name: str, media_type: str, encoding: str | None) -> None:
    (tmp_path / name).write_bytes(b"content")
    body = body_of(tmp_path / name)
    assert (body.media_type, body.encoding, body.name) == (media_type, encoding, "houses")
    for _ in range(2):
        with body.open() as source:
            assert source.read() == b"content"


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "houses.xls").write_bytes(b"")
    with pytest.raises(ValueError, match=r"houses\.xls: .*\.xlsx, .* and \.gz or \.zst"):
        body_of(tmp_path / "houses.xls")
    with pytest.raises(FileNotFoundError):
        body_of(tmp_path / "missing.csv")
    with pytest.raises(TypeError, match="not int"):
        body_of(3)
    with pytest.raises(TypeError, match="not Series"):
        body_of(pd.Series([1.0, 2.0], name="x"))
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3,\)"):
        body_of((np.zeros((2, 2)), np.zeros(3)))


def test_rows_to_predict_have_no_target(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=np.zeros((2, 2)), y=np.zeros(2))
    for rows in (tmp_path / "rows.npz", (np.zeros((2, 2)), np.zeros(2))):
        with pytest.raises(ValueError, match=r"\.npy"):
            rows_of(rows)
    assert rows_of(np.zeros((2, 2))).media_type == "application/x-npy"
