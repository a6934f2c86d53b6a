"""Workbooks as spreadsheet programs write them."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xlsxwriter

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def workbook(sheets: Mapping[str, Iterable[Sequence[Any]]] | Iterable[Sequence[Any]], *, hidden: str = "") -> bytes:
    """Return a workbook of sheets, or of the rows of one. Moments are dates, None is an empty cell."""
    target = io.BytesIO()
    options = {"default_date_format": "yyyy-mm-dd hh:mm:ss", "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(target, options) as book:
        for name, rows in (sheets if isinstance(sheets, Mapping) else {"Sheet1": sheets}).items():
            sheet = book.add_worksheet(name)
            if name == hidden:
                sheet.hide()
            elif hidden:
                # the active sheet is shown whatever it says
                sheet.activate()
            for number, row in enumerate(rows):
                for place, cell in enumerate(row):
                    if isinstance(cell, Mapping):
                        sheet.write_formula(number, place, cell["formula"], None, cell["value"])
                    elif cell is not None:
                        sheet.write(number, place, cell)
    return target.getvalue()


def bare_workbook(sheet: str, *, compression: int = zipfile.ZIP_DEFLATED, **members: bytes | str) -> bytes:
    """Return a workbook whose only sheet has this XML inside of its ``sheetData``. ``members``: more of the file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types"/>')
        for name, kind, path in (
            ("_rels/.rels", "officeDocument", "xl/workbook.xml"),
            ("xl/_rels/workbook.xml.rels", "worksheet", "worksheets/sheet1.xml"),
        ):
            link = f'<Relationship Id="rId1" Type="{OFFICE}/{kind}" Target="{path}"/>'
            archive.writestr(name, f'<Relationships xmlns="{PACKAGE}/relationships">{link}</Relationships>')
        named = '<sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets>'
        archive.writestr("xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">{named}</workbook>')
        text = f'<worksheet xmlns="{MAIN}"><sheetData>{sheet}</sheetData></worksheet>'
        archive.writestr("xl/worksheets/sheet1.xml", text)
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()
