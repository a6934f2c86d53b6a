"""Arrays of an npz file, unpacked and memory-mapped: a large matrix is never wholly in memory."""

import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables.files.size_limits import check_directory


def arrays(source: Path, max_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays ``X``, ``y`` and ``feature_names`` of an npz, if present.

    The unpacked files are already unlinked; their space is freed with the arrays.

    Raises:
        UnreadableTable: a member is not an array of plain values.
        TableTooLarge: the members take more than ``max_bytes``.
    """
    check_directory(source)
    with zipfile.ZipFile(source) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > max_bytes:
            raise TableTooLarge(f"the arrays of the npz take {size} bytes and at most {max_bytes} are allowed")
        present = set(archive.namelist())
        members = {name: f"{name}.npy" for name in ("X", "y", "feature_names") if f"{name}.npy" in present}
        if "X" not in members:
            others = ", ".join(sorted(name.removesuffix(".npy") for name in present)[:20]) or "nothing"
            raise UnreadableTable(f"the npz has no array 'X' [n, d]; it holds {others}")
        with tempfile.TemporaryDirectory(dir=source.parent, prefix="npz-") as folder:
            return {name: _mapped(archive, member, Path(folder) / name) for name, member in members.items()}


def _mapped(archive: zipfile.ZipFile, member: str, target: Path) -> np.ndarray:
    with archive.open(member) as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, 2**20)
    try:
        with target.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(file)
            room = target.stat().st_size - file.tell()
    except (ValueError, TypeError, MemoryError) as error:
        # TypeError: the header's keys are of several types; MemoryError: its declared length exceeds the memory
        raise UnreadableTable(f"{member!r} of the npz is no array as numpy stores it: {error}") from error
    if dtype.hasobject:
        raise UnreadableTable(
            f"{member!r} of the npz holds pickled objects, which are never loaded; store plain arrays of numbers, "
            "booleans or fixed-width texts"
        )
    values = 1
    for length in shape:
        values *= length
    if values * dtype.itemsize > room:
        raise UnreadableTable(f"{member!r} of the npz says that it is larger than it is: {shape} values of {dtype}")
    if values * dtype.itemsize == 0:
        return np.empty(shape, dtype)
    return np.lib.format.open_memmap(target, mode="r")
