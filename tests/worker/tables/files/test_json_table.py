"""What a table in JSON costs to read, whatever stands in its cells."""

import json

import pytest

from worker.tables.files import json_table
from worker.tables.files.json_table import JsonTable


@pytest.mark.parametrize("cell", ["1e20", "9007199254740993.0", "NaN", "1.5"])
def test_a_row_is_read_as_written_at_most_once_however_many_cells_need_it(tmp_path, monkeypatch, cell):
    parses = []
    parse = json_table.numbers_as_written
    monkeypatch.setattr(json_table, "numbers_as_written", lambda text: parses.append(text) or parse(text))
    names = [f"c{index}" for index in range(50)]
    rows = ",".join(f"[{','.join([cell] * len(names))}]" for _ in range(3))
    source = tmp_path / "table.json"
    source.write_text(f'{{"columns": {json.dumps(names)}, "rows": [{rows}]}}')
    table = JsonTable(source)
    assert sum(len(columns[0]) for columns in table.batches(2)) == 3
    passes = 2
    assert len(parses) <= 3 * passes


def test_the_kinds_of_cells_are_looked_at_once_however_often_a_table_is_read(tmp_path, monkeypatch):
    source = tmp_path / "table.json"
    source.write_text('{"columns": ["a"], "rows": [[1], ["x"]]}')
    table = JsonTable(source)
    opened = []
    parts = json_table.json_parts
    monkeypatch.setattr(json_table, "json_parts", lambda path: opened.append(path) or parts(path))
    assert [columns[0].to_pylist() for columns in table.batches(9)] == [["1", "x"]]
    assert [columns[0].to_pylist() for columns in table.batches(9)] == [["1", "x"]]
    assert len(opened) == 3, "once for the kinds, and once each time"
