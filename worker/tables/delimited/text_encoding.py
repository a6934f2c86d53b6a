"""The character encoding of a text file: found, and turned into UTF-8."""

import codecs
import re
import tempfile
import unicodedata
from pathlib import Path

import charset_normalizer

from worker.contracts.errors import UnreadableTable

BLOCK = 2**20
MIN_UTF16 = 4
SAMPLE_BYTES = 2**16
"""Of lines that are not ASCII: so many are looked at."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = ("cp1252", "cp1250", "mac_roman", "cp850")
"""Encodings of Latin letters that differ in a few characters, the most frequent first."""
OTHERS = ("cp1251", "koi8_r", "cp866", "cp1253", "cp1254", "cp1255", "cp1256", "shift_jis", "euc_jp", "gb18030", "big5")
ENCODINGS = (
    "ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be",
    *(f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
    *(f"cp{page}" for page in (437, 850, 852, 866, 932, 949, 950, *range(1250, 1259))),
    "mac-roman", "koi8-r", "koi8-u", "shift_jis", "euc_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr",
)  # fmt: skip
"""Encodings that a caller may name, by the names of Python; others of its codecs take more than linear time."""
SIGNS = ("Sc", "Sk", "Sm", "So", "No", "Cc")
"""Categories of Unicode: what letters become in a wrong encoding."""


def known_encoding(name: str) -> str | None:
    """Return the name of an encoding that texts may have, of any spelling of it; None for others."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return found if found in {codecs.lookup(known).name for known in ENCODINGS} else None


def find_encoding(source: Path) -> str:
    """Return the encoding of a text, by its byte order mark or its bytes.

    Raises:
        UnreadableTable: it is a binary file.
    """
    with source.open("rb") as file:
        start = file.read(2**12)
    for mark, name in MARKS:
        if start.startswith(mark):
            return name
    if b"\0" in start:
        even, odd = start[::2].count(0), start[1::2].count(0)
        if min(even, odd) == 0 and 4 * max(even, odd) > len(start) >= MIN_UTF16:
            return "utf-16-be" if even else "utf-16-le"
        raise UnreadableTable("the text holds NUL bytes: it is a binary file")
    sample = _not_utf8(source)
    if not sample:
        return "utf-8"
    found = charset_normalizer.from_bytes(sample, cp_isolation=[*WESTERN, *OTHERS]).best()
    if found is not None and found.encoding not in WESTERN:
        return found.encoding
    return min(WESTERN, key=lambda name: _signs_in_words(sample.decode(name, "replace")))


def _signs_in_words(text: str) -> int:
    """Return how many signs stand beside a letter."""
    return sum(
        not sign.isascii() and unicodedata.category(sign) in SIGNS and (before.isalpha() or after.isalpha())
        for before, sign, after in zip(f" {text}", text, f"{text[1:]} ", strict=False)
    )


def as_utf8(source: Path, encoding: str) -> tuple[Path, object]:
    """Return a file with the text of ``source`` in UTF-8, and what keeps it until it is released.

    Raises:
        UnreadableTable: a byte is none of the encoding.
    """
    if encoding == "utf-8":
        return source, None
    copy = tempfile.NamedTemporaryFile(dir=source.parent, prefix="utf8-")  # noqa: SIM115 - whoever reads it keeps it
    decoder = codecs.getincrementaldecoder(encoding)()
    with source.open("rb") as file:
        while block := file.read(BLOCK):
            copy.write(_decoded(decoder, block, encoding, final=False))
        copy.write(_decoded(decoder, b"", encoding, final=True))
    copy.flush()
    return Path(copy.name), copy


def _decoded(decoder: codecs.IncrementalDecoder, block: bytes, encoding: str, *, final: bool) -> bytes:
    try:
        return decoder.decode(block, final).encode("utf-8", "replace")
    except UnicodeDecodeError as error:
        raise UnreadableTable(
            f"the text is not {encoding}: byte 0x{error.object[error.start]:02x} is no character of it; say its "
            "encoding, or save it as UTF-8"
        ) from error


def _not_utf8(source: Path) -> bytes:
    """Return lines that are not ASCII, if the text is not UTF-8; nothing if it is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with source.open("rb") as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            pass
        else:
            return b""
        file.seek(0)
        sample = bytearray()
        while len(sample) < SAMPLE_BYTES and (block := file.read(BLOCK)):
            sample += b"\n".join(line[:SAMPLE_BYTES] for line in re.split(rb"[\r\n]+", block) if not line.isascii())
        # the detection takes texts with tabs for binary ones
        return bytes(sample[:SAMPLE_BYTES].replace(b"\t", b" "))
