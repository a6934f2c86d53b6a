"""What a table in JSON costs to read, whatever stands in its cells."""

import json

import pytest

from worker.contracts.errors import TableTooLarge
from worker.tables import media
from worker.tables.files import json_parts, json_table
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


def test_a_column_of_objects_has_the_type_of_the_cells_that_are_there(take):
    lines = ['{"a": 1}', '{"b": true, "a": 2}', '{"c": "x"}', '{"d": 9007199254740993}', "{}"]
    found = take("\n".join(lines), media.NDJSON)
    assert found.table.to_pydict() == {
        "a": [1.0, 2.0, None, None, None],
        "b": [None, True, None, None, None],
        "c": [None, None, "x", None, None],
        "d": [None, None, None, 9007199254740993, None],
    }


def test_many_small_objects_of_different_keys_are_refused(take, monkeypatch):
    with pytest.raises(TableTooLarge, match="more than 20000 columns"):
        take("\n".join(f'{{"k{number}": 1}}' for number in range(20_001)), media.NDJSON)
    monkeypatch.setattr(json_table, "FREE_ABSENT", 0)
    with pytest.raises(TableTooLarge, match="nearly all of them empty"):
        take("\n".join(f'{{"k{number}": 1}}' for number in range(200)), media.NDJSON)


def test_the_index_beside_a_table_may_be_longer_than_a_row_may_be(take, monkeypatch):
    monkeypatch.setattr(json_parts, "MAX_PIECE_CHARACTERS", 2**12)
    monkeypatch.setattr(json_parts, "BLOCK", 2**10)
    rows = 5000
    body = json.dumps({"columns": ["a", "b"], "index": list(range(rows)), "data": [[k, "x"] for k in range(rows)]})
    found = take(body, media.JSON)
    assert (found.rows, list(found.columns)) == (rows, ["a", "b"])
