"""Workbooks that are none, or that stand for much, are refused with what would be right before they are parsed."""

import io
import zipfile

import pytest
from support.workbooks import bare_workbook, workbook

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables import media
from worker.tables.workbooks import package

OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
VALUE = "<c><v>1</v></c>"


def _zip(**members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (OLD + "Workbook".encode("utf-16-le"), r"before 2007 \(\.xls\); save it as an Excel workbook"),
        (OLD + bytes(2**20 - 520) + "EncryptedPackage".encode("utf-16-le"), "has a password; save it"),
        (_zip(**{"xl/workbook.bin": b""}), r"\.xlsb"),
        (_zip(**{"content.xml": b""}), r"OpenOffice"),
        (_zip(**{"word/document.xml": b""}), "Word"),
        (_zip(a=b"1"), "another zip file"),
        (_zip(), "another zip file"),
        (workbook([["a"], [1]])[:-30], "zip"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (b"a,b\n1,2\n", "looks like text"),
        (b"<html><table><tr><td>1</td></tr></table></html>", "looks like text"),
    ],
)
def test_what_is_no_workbook_is_called_by_its_name(take, body, told):
    with pytest.raises(UnreadableTable, match=told):
        take(body, media.XLSX)


def test_a_workbook_that_is_sent_as_another_format_is_called_by_its_name(take):
    with pytest.raises(UnreadableTable, match="spreadsheetml"):
        take(workbook([["a"], [1]]), media.CSV)
    with pytest.raises(UnreadableTable, match="of before 2007 or with a password"):
        take(OLD, media.CSV)


def test_a_broken_member_is_an_error(take):
    body = bytearray(bare_workbook("<row>" + VALUE * 50 + "</row>", compression=zipfile.ZIP_STORED))
    body[body.index(VALUE.encode()) + 10] ^= 1
    with pytest.raises(UnreadableTable, match="CRC"):
        take(bytes(body), media.XLSX)


def test_an_encrypted_member_is_an_error(take):
    body = bytearray(bare_workbook("<row>" + VALUE + "</row>"))
    place = body.rindex(b"PK\x01\x02")
    body[place + 8] |= 1
    with pytest.raises(UnreadableTable, match="encrypted"):
        take(bytes(body), media.XLSX)


@pytest.mark.parametrize(
    "cells",
    [
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
        "<row r='1'><c r='A1'><v>1</v></c><c\n r = 'XFD1048576' ><v>1</v></c></row>",
        '<row r="1"><c r="XFD1"><v>1</v></c></row><row r="1048576"><c><v>1</v></c></row>',
        "<row>" + VALUE * 2000 + '</row><row r="1048576">' + VALUE + "</row>",
        '<row><c r="ZZZZZZZ99999999999"><v>1</v></c></row>',
        '<x:row r="1"><x:c r="A1"><x:v>1</x:v></x:c></x:row><x:row><x:c r="XFD1048576"><x:v>1</x:v></x:c></x:row>',
    ],
)
def test_cells_far_from_one_another_are_refused_before_the_room_between_them_is_taken(take, cells):
    with pytest.raises(TableTooLarge, match=r"reach to row \d+ and column \d+; delete what is no part of the table"):
        take(bare_workbook(cells), media.XLSX)


def test_cells_without_a_value_are_not_counted(take):
    cells = '<row r="1"><c r="A1" t="str"><v>a</v></c></row><row r="2"><c r="A2"><v>1</v></c></row>'
    body = bare_workbook(cells + '<row r="1048576"><c r="XFD1048576" s="0"/></row>')
    assert take(body, media.XLSX).rows == 1


@pytest.mark.parametrize("block", [7, 64, 2**20])
def test_a_tag_that_a_block_cuts_is_counted(take, monkeypatch, block):
    monkeypatch.setattr(package, "BLOCK", block)
    cells = "".join(f'<row r="{row}"><c r="A{row}"><v>{row}</v></c><c r="B{row}"/></row>' for row in range(1, 40))
    with zipfile.ZipFile(io.BytesIO(bare_workbook(cells))) as archive:
        assert package._extent(archive, "xl/worksheets/sheet1.xml") == (39, 39, 1)


def test_sizes_that_a_workbook_declares_are_summed_before_it_is_expanded(take):
    body = bare_workbook("<row>" + VALUE + "</row>" + " " * 2**21)
    assert len(body) < 2**13
    with pytest.raises(TableTooLarge, match="once decompressed"):
        take(body, media.XLSX, max_bytes=2**20)


def test_a_member_that_is_longer_than_it_says_is_not_expanded(take):
    body = bytearray(bare_workbook("<row>" + VALUE + "</row>" + " " * 2**22))
    # both the member and the directory say 1000 bytes
    length = len(zipfile.ZipFile(io.BytesIO(body)).read("xl/worksheets/sheet1.xml")).to_bytes(4, "little")
    assert body.count(length) == 2
    with pytest.raises(UnreadableTable, match="CRC"):
        take(bytes(body.replace(length, (1000).to_bytes(4, "little"))), media.XLSX, max_bytes=2**20)


def test_a_workbook_of_many_members_is_refused(take):
    many = {f"xl/{number:0100}.xml": b"" for number in range(7000)}
    with pytest.raises(TableTooLarge, match="too many members"):
        take(_zip(**{"xl/workbook.xml": b""}, **many), media.XLSX)


def test_more_cells_than_a_table_may_have_are_refused(take):
    with pytest.raises(TableTooLarge, match="more than 10 cells"):
        take(workbook([["a", "b"], *([k, k] for k in range(9))]), media.XLSX, max_cells=10)


def test_more_memory_than_may_be_taken_is_refused(take, monkeypatch):
    monkeypatch.setattr(package, "MAX_MEMORY", 10_000)
    with pytest.raises(TableTooLarge, match=r"takes about \d+ bytes to read"):
        take(workbook([["a", "b"], *([k, k] for k in range(90))]), media.XLSX)
    with pytest.raises(TableTooLarge, match="the texts of the workbook take"):
        take(workbook([["a", "b"], *([f"text {k:0100}", k] for k in range(90))]), media.XLSX)


def test_pictures_and_macros_are_left_out(take):
    body = bare_workbook(
        '<row><c t="str"><v>a</v></c></row><row>' + VALUE + "</row>",
        **{"xl/media/image1.png": bytes(2**21), "xl/vbaProject.bin": bytes(2**21)},
    )
    assert take(body, media.XLSX, max_bytes=2**20).rows == 1
