"""The zip file that an XLSX workbook is: checked, and written again before a parser sees it."""

import re
import resource
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables import media
from worker.tables.files.size_limits import check_directory

OLD_FORMAT = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""OLE: a workbook of before 2007, or one with a password."""
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
MAIN = "xl/workbook.xml"
OTHERS = {
    "xl/workbook.bin": "a binary workbook (.xlsb)",
    "word/document.xml": "a document of Word",
    "ppt/presentation.xml": "a presentation",
    "content.xml": "a file of OpenOffice (.ods)",
}
"""What else a zip file may be, by one of its members."""
SAVE = "save it as an Excel workbook (.xlsx) without a password, or as CSV"
_SMALLER = "delete what is no part of the table, or save it as CSV or Parquet"
BLOCK = 2**20
MAX_TAG = 2**10
"""Bytes of the tag of a cell; they carry its place and its style."""
CELL = re.compile(rb"<(?:\w+:)?(c|row)(?:[ \t\r\n]([^<>]*))?(?<!/)>")
PLACE = re.compile(rb"(?:^|[ \t\r\n])r[ \t\r\n]*=[ \t\r\n]*[\"']([A-Za-z]*)([0-9]*)")
CELL_BYTES, BOX_BYTES, TEXT_COPIES = 48, 32, 4
"""Memory of the parser for each cell, for each place between the first and the last cell, and for each byte of text."""
MAX_MEMORY = 2**30
"""Of the parser, in a process without a limit; else it is half of that."""


def check_is_workbook(source: Path) -> None:
    """Refuse workbooks of other formats by what they are.

    Raises:
        UnreadableTable: the file is a workbook with a password or of before 2007, or another zip file.
        TableTooLarge: the directory of the zip file is too long.
    """
    with source.open("rb") as file:
        if file.read(len(OLD_FORMAT)) == OLD_FORMAT:
            what = "has a password" if _holds(source, ENCRYPTED) else "is in the format of before 2007 (.xls)"
            raise UnreadableTable(f"the workbook {what}; {SAVE}")
    check_directory(source)
    with zipfile.ZipFile(source) as archive:
        names = set(archive.namelist())
    if MAIN not in names:
        what = next((what for name, what in OTHERS.items() if name in names), "another zip file")
        raise UnreadableTable(f"the file is no Excel workbook but {what}: it has no {MAIN}; {SAVE}")


def zip_type(source: Path) -> str | None:
    """Return the media type of a zip file by its members; None for none of a table, or a broken one."""
    try:
        check_directory(source)
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except (TableTooLarge, zipfile.BadZipFile, ValueError, OSError, RuntimeError):
        return None
    if MAIN in names:
        return media.XLSX
    return media.NPZ if any(name.endswith(".npy") for name in names) else None


def _holds(source: Path, words: bytes) -> bool:
    end = b""
    with source.open("rb") as file:
        while block := file.read(BLOCK):
            if words in end + block:
                return True
            end = block[-len(words) :]
    return False


def plain_copy(source: Path, max_bytes: int) -> "tempfile._TemporaryFileWrapper[bytes]":
    """Return a copy of a workbook that holds its XML alone, not compressed. It is deleted when it is closed.

    The parser would expand a member as far as its data go, whatever length the zip file declares.

    Raises:
        TableTooLarge: the members declare more than ``max_bytes``.
    """
    with zipfile.ZipFile(source) as archive:
        # of members of one name, which no program writes, the last
        members = {
            member.filename: member
            for member in archive.infolist()
            if member.filename.lower().endswith((".xml", ".rels"))
        }
        size = sum(member.file_size for member in members.values())
        if size > max_bytes:
            raise TableTooLarge(
                f"the workbook takes {size} bytes once decompressed and at most {max_bytes} are allowed; {_SMALLER}"
            )
        copy = tempfile.NamedTemporaryFile(dir=source.parent, prefix="workbook-", suffix=".xlsx")  # noqa: SIM115 - the caller closes it
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as plain:
            for member in members.values():
                # reading ends at the declared length
                with archive.open(member) as packed, plain.open(member.filename, "w", force_zip64=True) as target:
                    shutil.copyfileobj(packed, target, BLOCK)
    copy.flush()
    return copy


def check_memory(workbook: Path, max_cells: int) -> None:
    """Refuse a workbook with a sheet, or with texts, for which the parser would take too much memory.

    The parser holds all places between the first and the last cell of a sheet.

    Raises:
        TableTooLarge: there is such a sheet.
    """
    with zipfile.ZipFile(workbook) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        texts = TEXT_COPIES * sum(size for name, size in sizes.items() if "sharedstrings" in name.lower())
        _check(texts, "the texts of the workbook take")
        for name in sizes:
            if name.lower().startswith("xl/worksheets/") and name.lower().endswith(".xml"):
                cells, rows, columns = _extent(archive, name)
                if rows * columns > max_cells:
                    raise TableTooLarge(
                        f"a sheet has more than {max_cells} cells: they reach to row {rows} and column {columns}; "
                        f"{_SMALLER}"
                    )
                _check(
                    texts + CELL_BYTES * cells + BOX_BYTES * rows * columns + sizes[name],
                    f"a sheet of {cells} cells, which reach to row {rows} and column {columns}, takes",
                )


def _check(needed: int, what: str) -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = MAX_MEMORY if limit == resource.RLIM_INFINITY else limit // 2
    if needed > allowed:
        raise TableTooLarge(f"{what} about {needed} bytes to read and at most {allowed} are allowed; {_SMALLER}")


def _extent(archive: zipfile.ZipFile, name: str) -> tuple[int, int, int]:
    """Return how many cells with a value a sheet has, and its last row and column that have one."""
    cells = last_row = last_column = 0
    row = column = 0
    for kind, attributes in _tags(archive, name):
        place = PLACE.search(attributes)
        letters, digits = place.groups() if place else (b"", b"")
        if kind == b"row":
            row, column = int(digits[:9]) if digits else row + 1, 0
            continue
        cells += 1
        column = _column_number(letters[:6]) if letters else column + 1
        row = int(digits[:9]) if digits else max(row, 1)
        last_row, last_column = max(last_row, row), max(last_column, column)
    return cells, last_row, last_column


def _tags(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[bytes, bytes]]:
    rest = b""
    with archive.open(name) as sheet:
        while block := sheet.read(BLOCK):
            text = rest + block
            yield from CELL.findall(text)
            # a tag that the block cuts
            cut = text.rfind(b"<", max(0, len(text) - MAX_TAG))
            rest = b"" if cut < 0 or b">" in text[cut:] else text[cut:]


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - ord("A") + 1
    return number
