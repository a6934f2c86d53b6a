"""Workbooks and JSON as people and programs write them are read as the table that they hold, whatever it holds."""

import itertools
import json

import pytest
from support.workbooks import workbook

from worker.tables import media

ROWS = 12
CITIES = ["Zürich", "東京", "O'Hara; & Co", 'a "b"']
TABLES = {
    "numbers and texts": lambda k: [
        k,
        round(1.5 * k, 2),
        CITIES[k % 4],
        "yn"[k % 2],
    ],
    "codes and money": lambda k: [f"0{1000 + k}", f"{k},50 €", f"{k} %", k * k],
    "gaps": lambda k: [k if k % 3 else None, ["x", "y"][k % 2] if k % 5 else None, 0.25 * k, None if k % 2 else 1],
    "truth and texts": lambda k: [k % 3 == 0, f"row {k}", None if k % 4 else k % 2 == 0, -k],
    "small and large": lambda k: [10.0 ** (k - 6), -(2**k), 2.0**-k, 1e15 + k],
    "wide": lambda k: [(k * place) % 7 for place in range(40)],
}
MEANT = {
    "codes and money": lambda k: [f"0{1000 + k}", k + 0.5, float(k), k * k],
}


def _names(width):
    return ["größe", "second name", "x3", "y", *(f"c{place}" for place in range(4, width))][:width]


def _rows(table):
    return [TABLES[table](k) for k in range(ROWS)]


def _meant(table):
    return [MEANT.get(table, TABLES[table])(k) for k in range(ROWS)]


LAYOUTS = {
    "plain": lambda names, rows: [names, *rows],
    "a title": lambda names, rows: [["Sales of May"], [], names, *rows],
    "a title at once above": lambda names, rows: [["Sales of May"], names, *rows],
    "a title of several rows": lambda names, rows: [["Sales"], ["Area", "North"], [], names, *rows],
    "away from the corner": lambda names, rows: [[], [], *([None, None, *row] for row in [names, *rows])],
    "blank rows": lambda names, rows: [names, [], *rows[:5], [], [], *rows[5:], []],
    "columns of nothing": lambda names, rows: [[*row, None, " "] for row in [names, *rows]],
    "the second sheet": lambda names, rows: {"Front": [], "Data": [names, *rows]},
    "a hidden sheet in front": lambda names, rows: {"Lists": [["a"], ["b"], ["c"]], "Data": [names, *rows]},
}
WORKBOOKS = list(itertools.product(TABLES, LAYOUTS))


def _check(found, table):
    width = len(TABLES[table](0))
    assert list(found.columns) == _names(width)
    rows = [list(row.values()) for row in found.table.to_pylist()]
    assert rows == _meant(table)


@pytest.mark.parametrize(("table", "layout"), WORKBOOKS)
def test_the_table_of_a_workbook_is_read(take, table, layout):
    rows = _rows(table)
    sheets = LAYOUTS[layout](_names(len(rows[0])), rows)
    _check(take(workbook(sheets, hidden="Lists"), media.XLSX), table)


def _objects(names, rows):
    return [dict(zip(names, row, strict=True)) for row in rows]


def _without_gaps(names, rows):
    # the first row says the order of the names
    return [
        {name: cell for name, cell in row.items() if cell is not None or not number}
        for number, row in enumerate(_objects(names, rows))
    ]


def _lines(objects):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in objects) + "\n"


SHAPES = {
    "records": (media.JSON, lambda names, rows: json.dumps(_objects(names, rows), ensure_ascii=False)),
    "records on lines": (media.JSON, lambda names, rows: json.dumps(_objects(names, rows), indent=2)),
    "records without gaps": (media.JSON, lambda names, rows: json.dumps(_without_gaps(names, rows))),
    "rows of objects": (media.JSON, lambda names, rows: json.dumps({"rows": _objects(names, rows)})),
    "columns and rows": (media.JSON, lambda names, rows: json.dumps({"columns": names, "rows": rows})),
    "rows and columns": (media.JSON, lambda names, rows: json.dumps({"rows": rows, "columns": names})),
    "split": (
        media.JSON,
        lambda names, rows: json.dumps({"columns": names, "index": list(range(len(rows))), "data": rows}),
    ),
    "split without an index": (media.JSON, lambda names, rows: json.dumps({"columns": names, "data": rows})),
    "lines": (media.NDJSON, lambda names, rows: _lines(_objects(names, rows))),
    "lines without gaps": (media.NDJSON, lambda names, rows: _lines(_without_gaps(names, rows))),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
DOCUMENTS = list(itertools.product(TABLES, SHAPES, ENCODINGS))


@pytest.mark.parametrize(("table", "shape", "encoding"), DOCUMENTS)
def test_the_table_of_a_json_document_is_read(take, table, shape, encoding):
    kind, text = SHAPES[shape]
    rows = _rows(table)
    _check(take(text(_names(len(rows[0])), rows).encode(encoding), kind), table)


def test_the_corpus_is_large():
    assert len(WORKBOOKS) + len(DOCUMENTS) > 150
