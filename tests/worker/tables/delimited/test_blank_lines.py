"""A row whose only cell is missing is a row."""

import io

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contracts.reading import ReadingOptions
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.delimited import blank_lines
from worker.tables.files.ingest import ingest
from worker.tables.rows.table_rows import RowReader
from worker.tables.values import canonical

BREAKS = ["\n", "\r\n", "\r"]
FILES = {
    "1\n\n3\n": ["1", None, "3"],
    "1\n\n3": ["1", None, "3"],
    "\n\n3\n": [None, None, "3"],
    "1\n\n\n3\n\n\n\n": ["1", None, None, "3"],
    '1\n""\n\n': ["1", None],
    '1\n\n""\n': ["1", None, None],
    "1\n  \n": ["1", None],
    "1\n": ["1"],
}


def _read(text, kind=media.CSV):
    reader = RowReader([ModelColumn(name="a", type="categorical")])
    return canonical(reader.table(reader.read(text.encode(), kind, max_rows=10_000)).column("a")).to_pylist()


@pytest.mark.parametrize("lines", BREAKS)
@pytest.mark.parametrize("kind", [media.CSV, media.TSV])
@pytest.mark.parametrize("text", FILES)
def test_a_blank_line_between_others_is_a_missing_cell(tmp_path, text, kind, lines):
    body = ("a\n" + text).replace("\n", lines)
    assert _read(body, kind) == FILES[text]
    (tmp_path / "file").write_bytes(body.encode())
    stored = ingest(tmp_path / "file", kind, tmp_path / "table", max_cells=10**6, max_bytes=10**6)
    assert (stored.rows, stored.columns[0].missing) == (len(FILES[text]), FILES[text].count(None))


def test_without_a_header_blank_lines_at_the_beginning_are_rows_and_before_a_header_none(tmp_path):
    for body, header, rows in [("\n1\n\n2\n", False, 4), ("\n\na\n1\n\n2\n", True, 3), ("\ufeff\na\n1\n", True, 1)]:
        (tmp_path / "file").write_bytes(body.encode())
        stored = ingest(
            tmp_path / "file",
            media.CSV,
            tmp_path / "table",
            max_cells=99,
            max_bytes=10**6,
            options=ReadingOptions(header=header),
        )
        assert stored.rows == rows, body


@given(st.lists(st.one_of(st.none(), st.integers(0, 9).map(str)), min_size=1, max_size=40))
def test_as_many_rows_are_read_as_arrow_wrote(cells):
    cells = [*cells, "1"]
    body = io.BytesIO()
    pa_csv.write_csv(pa.table({"a": cells}), body)
    assert _read(body.getvalue().decode()) == cells


@given(st.lists(st.lists(st.sampled_from(["", "", "x"]), max_size=5), max_size=6))
def test_blank_lines_are_counted_over_the_ends_of_blocks(blocks):
    lines = [line for block in blocks for line in block]
    filled = max((place for place, line in enumerate(lines) if line), default=-1)

    class Source:
        def open(self, mode):
            return io.BytesIO("".join(line + "\n" for line in lines).encode())

    batches = [pa.array(block, pa.string()) for block in blocks]
    found = [text for part in blank_lines.rows_of_lines(Source(), batches, named=False) for text in part.to_pylist()]
    assert found == lines[: filled + 1]


@pytest.mark.parametrize("lines", BREAKS)
@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_the_end_of_a_file_is_read_in_blocks(tmp_path, monkeypatch, lines, block):
    monkeypatch.setattr(blank_lines, "BLOCK", block)
    for count in range(6):
        (tmp_path / "file").write_bytes(("1" + lines * count).encode())
        assert blank_lines.blank_lines_at_end(tmp_path / "file") == max(0, count - 1)


def test_a_file_of_blank_lines_is_read_in_a_time_that_grows_with_it(tmp_path):
    (tmp_path / "file").write_bytes(b"a\n1\n" + b"\n" * 2_000_000 + b"2\n" + b"\n" * 2_000_000)
    stored = ingest(tmp_path / "file", media.CSV, tmp_path / "table", max_cells=10**7, max_bytes=10**9)
    assert stored.rows == 2_000_002
