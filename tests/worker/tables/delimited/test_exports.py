"""Texts as people export them are read as the table that they hold, whatever cuts them and in whichever encoding."""

import csv
import io
import itertools

import pytest

from worker.contracts.errors import UnreadableTable
from worker.contracts.reading import ReadingOptions
from worker.tables import media

ROWS = 30
CITIES = {
    "utf-8": ["Zürich", "Łódź", "Αθήνα", "東京"],
    "utf-8-sig": ["Zürich", "Łódź", "Москва", "北京"],
    "utf-16": ["Zürich", "Łódź", "Москва", "東京"],
    "utf-16-le": ["Genève", "Köln", "Málaga", "Århus"],
    "utf-16-be": ["Genève", "Köln", "Málaga", "Århus"],
    "cp1252": ["Zürich", "Genève", "Köln – Süd", "São Paulo"],
    "iso8859-1": ["Málaga", "Århus", "Besançon", "Würzburg"],
    "cp1250": ["Łódź", "Kraków", "Wrocław", "Częstochowa"],
    "cp1251": ["Москва", "Казань", "Самара", "Пермь"],
    "koi8-r": ["Москва", "Казань", "Самара", "Пермь"],
    "shift_jis": ["東京都", "大阪府", "京都府", "北海道"],
    "gb18030": ["北京市", "上海市", "广州市", "深圳市"],
}
SEPARATORS = {"commas": ",", "semicolons": ";", "tabs": "\t", "bars": "|"}
TABLES = {
    "numbers and texts": lambda k, cities: [k, round(1.5 * k, 2), cities[k % 4], ["yes", "no"][k % 2]],
    "codes and days": lambda k, cities: [f"0{1000 + k}", f"2024-01-{k % 28 + 1:02}", cities[(3 * k) % 4], k * k],
    "gaps": lambda k, cities: [k if k % 3 else None, cities[k % 4] if k % 5 else None, 0.25 * k, None if k % 2 else 1],
}
NAMES = ["größe", "second name", "x3", "y"]


def _names(encoding):
    try:
        "ö".encode(encoding)
    except UnicodeEncodeError:
        return ["size", *NAMES[1:]]
    return NAMES


def _text(rows, separator, end="\r\n", quoting=csv.QUOTE_MINIMAL):
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator, lineterminator=end, quoting=quoting).writerows(
        ["" if cell is None else cell for cell in row] for row in rows
    )
    return stream.getvalue()


@pytest.fixture
def read(take):
    """Return what reads bytes as a table: the names and cells, and how it was read."""

    def read_body(body, kind=media.CSV, **options):
        found = take(body, kind, ReadingOptions(**options))
        return list(found.columns), [list(row.values()) for row in found.table.to_pylist()], found

    return read_body


def _same(found, expected):
    assert len(found) == len(expected)
    for row, right in zip(found, expected, strict=True):
        assert [None if cell is None else str(cell) for cell in row] == [
            None if cell is None else str(float(cell) if isinstance(cell, int | float) else cell) for cell in right
        ]


CASES = list(itertools.product(CITIES, SEPARATORS, TABLES))


@pytest.mark.parametrize(("encoding", "separator", "table"), CASES)
@pytest.mark.parametrize("kind", [media.CSV, media.TSV])
def test_an_export_is_read_in_any_encoding_and_with_any_separator(read, encoding, separator, table, kind):
    rows = [TABLES[table](k, CITIES[encoding]) for k in range(ROWS)]
    names = _names(encoding)
    found, cells, told = read(_text([names, *rows], SEPARATORS[separator]).encode(encoding), kind)
    assert found == names
    _same(cells, rows)
    assert told.reading.separator == SEPARATORS[separator]
    assert told.reading.header
    assert told.reading.skipped_rows == 0


ROWS_OF = [[k, round(0.5 * k, 1), "ab"[k % 2]] for k in range(ROWS)]
PLAIN = _text(ROWS_OF, ",", "\n")
SHAPES = {
    "a title": ("Sales of May\n\nn,half,side\n" + PLAIN, ["n", "half", "side"], {"skipped_rows": 2}),
    "two lines of a title": ("Sales\nMay 2024\nn,half,side\n" + PLAIN, ["n", "half", "side"], {"skipped_rows": 2}),
    "no names": (PLAIN, ["column_1", "column_2", "column_3"], {"header": False}),
    "a name twice": (
        "n,n,side\n" + PLAIN,
        ["n", "n_2", "side"],
        {"renamed": {"n_2": "n"}},
    ),
    "a name twice, and that name": (
        "n,n,n_2\n" + PLAIN,
        ["n", "n_3", "n_2"],
        {"renamed": {"n_3": "n"}},
    ),
    "no name": ("n,,side\n" + PLAIN, ["n", "column_2", "side"], {"renamed": {"column_2": ""}}),
    "columns of nothing": (
        "n,half,side,,\n" + PLAIN.replace("\n", ",,\n"),
        ["n", "half", "side"],
        {"renamed": {}},
    ),
    "separators at the end of rows": ("n,half,side\n" + PLAIN.replace("\n", ",\n"), ["n", "half", "side"], {}),
    "names of rows by R": ("half,side\n" + PLAIN, ["column_1", "half", "side"], {"renamed": {"column_1": ""}}),
    "all in quotes": (_text([["n", "half", "side"], *ROWS_OF], ";", "\n", csv.QUOTE_ALL), ["n", "half", "side"], {}),
    "lines of an old Mac": (("n,half,side\n" + PLAIN).replace("\n", "\r"), ["n", "half", "side"], {}),
    "blank lines": ("\n\nn,half,side\n\n" + PLAIN + "\n\n", ["n", "half", "side"], {}),
    "columns of blanks": (
        "n  half  side\n" + "".join(f"{n:<4}{half:<6}{side}\n" for n, half, side in ROWS_OF),
        ["n", "half", "side"],
        {"separator": " "},
    ),
    "single quotes": (
        "'n';'half';'side'\n" + "".join(f"{n};{half};'{side}'\n" for n, half, side in ROWS_OF),
        ["n", "half", "side"],
        {"separator": ";"},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_table_in_a_text_is_found(read, shape):
    text, names, told = SHAPES[shape]
    found, cells, described = read(text.encode())
    assert found == names
    _same(cells, ROWS_OF)
    for name, value in told.items():
        assert getattr(described.reading, name) == value


def test_the_index_of_a_data_frame_is_no_feature(read):
    _, _, described = read((",half,side\n" + PLAIN).encode())
    assert [column.index for column in described.columns.values()] == [True, False, False]
    _, _, described = read(("half,side\n" + PLAIN).encode())
    assert [column.index for column in described.columns.values()] == [True, False, False]


def test_a_first_column_of_a_table_without_names_is_a_feature(read):
    _, _, described = read(PLAIN.encode())
    assert [column.index for column in described.columns.values()] == [False, False, False]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_ragged_row_below_a_title_is_named_by_its_number_in_the_file(read, encoding):
    text = "Sales\n\nn;half;side\n" + PLAIN.replace(",", ";")
    names, cells, _ = read(text.encode(encoding))
    assert names == ["n", "half", "side"]
    _same(cells, ROWS_OF)
    with pytest.raises(UnreadableTable, match="row 34 has 2 values"):
        read((text + "1;2\n").encode(encoding))


def test_columns_without_a_name_and_a_value_are_told(read):
    _, _, described = read(("n,half,side,,\n" + PLAIN.replace("\n", ",,\n")).encode())
    assert [column.column for column in described.reading.dropped_columns] == ["column_4", "column_5"]


@pytest.mark.parametrize("body", [b"notes\nfirst; then\nso; what\n", b"notes\na|b\nc|d\n"])
def test_a_text_of_one_column_is_not_cut_at_marks_inside_of_it(read, body):
    names, cells, _ = read(body)
    assert names == ["notes"]
    assert [cell for [cell] in cells] == body.decode().splitlines()[1:]


@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_who_says_the_separator_is_believed(read, separator):
    names, _, described = read(b"a,b;c,d|e\n1,2;3,4|5\n6,7;8,9|0\n", separator=separator)
    assert names == "a,b;c,d|e".split(separator)
    assert described.reading.separator == separator


def test_who_says_the_encoding_is_believed(read):
    text = "name;wert\nМосква;1\nКазань;2\n"
    assert read(text.encode("cp1251"), encoding="cp1251")[1][0][0] == "Москва"
    assert read(text.encode("cp1251"), encoding="latin-1")[1][0][0] == "Ìîñêâà"


def test_a_byte_that_is_none_of_the_encoding_is_named(read):
    with pytest.raises(UnreadableTable, match="0xef"):
        read("naïve,é\n1,2\n".encode("latin-1"), encoding="ascii")
    with pytest.raises(UnreadableTable, match="not utf-8"):
        read("année,b\n1,2\n".encode("latin-1"), encoding="utf-8")
