"""Damage to a file: bytes flipped, cut, put twice, taken from elsewhere, and lengths that are not true."""

import io
import random
import struct
import zipfile
from collections.abc import Sequence

LENGTHS = (0, 1, 2, 7, 127, 128, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
MAX_STEPS = 6


def mutate(draw: random.Random, body: bytes, others: Sequence[bytes]) -> bytes:
    """Return ``body`` with one to six damages. An npz is also damaged inside, under sound checksums."""
    if body.startswith(b"PK") and draw.random() < 0.6:
        return _inside_zip(draw, body)
    changed = bytearray(body)
    for _ in range(draw.randint(1, MAX_STEPS)):
        draw.choice(DAMAGES)(draw, changed, others)
    return bytes(changed)


def _flip(draw: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    if body:
        body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)


def _overwrite(draw: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    at = draw.randint(0, len(body))
    body[at : at + 4] = draw.randbytes(draw.randint(1, 4))


def _cut(draw: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    at = draw.randint(0, len(body))
    del body[at : at + draw.choice((1, 3, 8, 64, len(body)))]


def _twice(draw: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    at = draw.randint(0, len(body))
    body[at:at] = body[at : at + draw.choice((1, 4, 16, 128))] * draw.choice((1, 1, 1, 50))


def _splice(draw: random.Random, body: bytearray, others: Sequence[bytes]) -> None:
    other = draw.choice(others)
    start, at = draw.randint(0, len(other)), draw.randint(0, len(body))
    piece = other[start : start + draw.choice((4, 16, 128, len(other)))]
    body[at : at + draw.choice((0, len(piece)))] = piece


def _length(draw: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """Put a length where one may be: a little-endian word, often at the end or on a boundary of four bytes."""
    form = draw.choice(("<I", "<Q", "<H"))
    width = struct.calcsize(form)
    if len(body) < width:
        return
    at = draw.choice((draw.randrange(len(body)), draw.randrange(len(body)) & ~3, len(body) - 8, 0))
    value = draw.choice((*LENGTHS, len(body), len(body) * 2)) % 2 ** (8 * width)
    body[max(at, 0) : max(at, 0) + width] = struct.pack(form, value)


def _varint(draw: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """Replace a byte by a number of up to ten bytes, as Thrift writes its lengths."""
    value, written = draw.choice(LENGTHS), bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    at = draw.randint(0, len(body))
    body[at : at + draw.choice((1, len(written)))] = written


DAMAGES = (_flip, _flip, _overwrite, _cut, _twice, _splice, _length, _length, _varint)


def _inside_zip(draw: random.Random, body: bytes) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as sound, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        inner = {name: sound.read(name) for name in sound.namelist()}
        hurt = draw.choice(list(inner))
        for name, content in inner.items():
            archive.writestr(name, mutate(draw, content, list(inner.values())) if name == hurt else content)
    return changed.getvalue()
