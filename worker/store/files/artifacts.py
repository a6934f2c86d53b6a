"""Storage of files under keys: a local folder, memory (for tests) or any fsspec address such as s3://.

Writes are atomic, and reads verify the checksum.
"""

import contextlib
import hashlib
import io
import os
import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing
from worker.store.files.disk_full import needing_room

KEY_PART = re.compile(r"[A-Za-z0-9_=@+-][A-Za-z0-9._=@+-]*")
MAX_KEY_LENGTH = 512
BLOCK_BYTES = 2**20
CHECKED_SECONDS = 600.0
"""A verified checksum of an unchanged file is trusted this long, because disks corrupt data silently."""
MAX_CHECKED = 1000

Unchanged = tuple[int, int, int, int]
"""Inode, size and times of a local file: every write changes one of them."""


class Artifacts:
    """One storage. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._fs, root = url_to_fs(url)
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        self._checked: OrderedDict[tuple[str, str], tuple[Unchanged, float]] = OrderedDict()
        self._lock = threading.Lock()

    def put_file(self, key: str, path: Path) -> ArtifactRef:
        """Store a copy of a file under ``key``, replacing what was there.

        Raises:
            StorageFull: there is no room; what was there is unchanged.
        """
        with path.open("rb") as source:
            if self._local:
                return self._put_local(key, source)
            sha256, length = _hash(source)
        with needing_room(key):
            self._fs.makedirs(self._path(key).rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(path), self._path(key))
        return ArtifactRef(key=key, sha256=sha256, bytes=length)

    def put_bytes(self, key: str, content: bytes) -> ArtifactRef:
        """Store ``content`` under ``key``, replacing what was there.

        Raises:
            StorageFull: there is no room; what was there is unchanged.
        """
        if self._local:
            return self._put_local(key, io.BytesIO(content))
        with needing_room(key):
            self._fs.makedirs(self._path(key).rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(self._path(key), content)
        return ArtifactRef(key=key, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    @contextmanager
    def open(self, ref: ArtifactRef) -> Iterator[BinaryIO]:
        """Open a file for random access, after reading it once to verify its checksum.

        Raises:
            ArtifactMissing: there is no such file.
            ArtifactCorrupt: its length or its checksum differs.
        """
        with self._opened(ref) as file:
            _compare(ref, *_hash(file))
            file.seek(0)
            yield file

    @contextmanager
    def open_part(self, ref: ArtifactRef) -> Iterator[BinaryIO]:
        """Open a file to read a part of it.

        The checksum covers the whole file. A local file that was verified recently and has not changed since is not
        verified again.

        Raises:
            ArtifactMissing: there is no such file.
            ArtifactCorrupt: its length or its checksum differs.
        """
        with self._opened(ref) as file:
            unchanged = _unchanged(file) if self._local else None
            if unchanged is None or not self._was_checked(ref, unchanged):
                _compare(ref, *_hash(file))
                file.seek(0)
                if unchanged is not None:
                    self._remember(ref, unchanged)
            yield file

    def read_parts(self, ref: ArtifactRef, parts: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return parts of a file, each its first byte and its length. Whoever asks knows their checksums.

        Raises:
            ArtifactMissing: there is no such file.
            ArtifactCorrupt: it ends before a part does.
        """
        found = []
        with self._opened(ref) as file:
            for start, length in parts:
                file.seek(start)
                found.append(file.read(length))
                if len(found[-1]) < length:
                    raise ArtifactCorrupt(f"the file {ref.key!r} ends before its byte {start + length}")
        return found

    def stream(self, ref: ArtifactRef) -> Iterator[bytes]:
        """Yield a file's bytes in blocks. The last block follows only after the checksum is verified.

        Raises:
            ArtifactMissing: there is no such file.
            ArtifactCorrupt: its length or its checksum differs; the last bytes are then not yielded.
        """
        digest = hashlib.sha256()
        length = 0
        held = b""
        with self._opened(ref) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                length += len(block)
                if length > ref.bytes:
                    break
                if held:
                    yield held
                held = block
        _compare(ref, digest.hexdigest(), length)
        yield held

    def read_bytes(self, ref: ArtifactRef) -> bytes:
        """Return a file's bytes, with verified checksum.

        Raises:
            ArtifactMissing: there is no such file.
            ArtifactCorrupt: its length or its checksum differs.
        """
        with self._opened(ref) as file:
            content = file.read()
        _compare(ref, hashlib.sha256(content).hexdigest(), len(content))
        return content

    def local_copy(self, ref: ArtifactRef, cache_dir: Path) -> Path:
        """Return a local path for reading: the file itself, or a copy in ``cache_dir``. Verified as by ``open_part``.

        Raises:
            ArtifactMissing: there is no such file.
            ArtifactCorrupt: its length or its checksum differs.
        """
        if self._local:
            with self.open_part(ref):
                return Path(self._path(ref.key))
        cached = cache_dir / ref.sha256
        if cached.exists():
            with cached.open("rb") as file:
                if _hash(file) == (ref.sha256, ref.bytes):
                    return cached
        cache_dir.mkdir(parents=True, exist_ok=True)
        with self._opened(ref) as source, _replacing(cached) as target:
            _compare(ref, *_hash(source, target))
        return cached

    def delete(self, key: str) -> None:
        """Delete a file if it exists."""
        self._remove(self._path(key), recursive=False)

    def delete_prefix(self, prefix: str) -> None:
        """Delete everything below the folder ``prefix``."""
        self._remove(self._path(prefix.rstrip("/")), recursive=True)

    def list_folders(self, prefix: str) -> list[str]:
        """Return the sorted names in the folder ``prefix``; empty if there is no such folder."""
        path = self._path(prefix)
        self._fs.invalidate_cache(path)
        try:
            entries = self._fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted({str(entry).rstrip("/").rpartition("/")[2] for entry in entries} - {""})

    def list_strays(self, folder: str) -> list[str]:
        """Return the paths of all files below ``folder``, with temporary files and empty folders (ending in /).

        Such a path need not be a valid key; only ``discard`` accepts it.
        """
        path = self._path(folder)
        if not self._local:
            self._fs.invalidate_cache(path)
            return sorted(f"{folder}{str(file)[str(file).index(path) + len(path) :]}" for file in self._fs.find(path))
        paths = [folder] if Path(path).is_file() else []
        for place, folders, files in os.walk(path):
            below = folder + place.removeprefix(path)
            paths += [f"{below}/{name}" for name in files]
            if not folders and not files:
                paths.append(f"{below}/")
        return sorted(paths)

    def discard(self, stray: str) -> None:
        """Delete a path from ``list_strays`` and the folders above it that become empty, except the top one."""
        path = f"{self._root}/{stray}"
        if not stray.endswith("/"):
            self._remove(path, recursive=False)
        if not self._local:
            return
        prefix = Path(self._root) / stray.partition("/")[0]
        folder = Path(path) if stray.endswith("/") else Path(path).parent
        with contextlib.suppress(OSError):  # a folder that is not empty stays, and so do its parents
            while folder != prefix:
                folder.rmdir()
                folder = folder.parent

    def check(self) -> None:
        """Write, read and delete a small file.

        Raises:
            Exception: any error of the storage library.
        """
        key = f"checks/{uuid.uuid4().hex}"
        try:
            self.read_bytes(self.put_bytes(key, b"ready"))
        finally:
            self.delete(key)

    def _path(self, key: str) -> str:
        parts = key.split("/")
        if len(key) > MAX_KEY_LENGTH or not all(KEY_PART.fullmatch(part) for part in parts):
            raise ValueError(f"an artifact's key is a relative path of letters, digits and ._=@+-, not {key[:80]!r}")
        return f"{self._root}/{key}"

    def _put_local(self, key: str, source: BinaryIO) -> ArtifactRef:
        path = Path(self._path(key))
        with needing_room(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _replacing(path) as target:
                sha256, length = _hash(source, target)
        return ArtifactRef(key=key, sha256=sha256, bytes=length)

    def _was_checked(self, ref: ArtifactRef, unchanged: Unchanged) -> bool:
        with self._lock:
            before, until = self._checked.get((ref.key, ref.sha256), (None, 0.0))
        return before == unchanged and time.monotonic() < until

    def _remember(self, ref: ArtifactRef, unchanged: Unchanged) -> None:
        with self._lock:
            self._checked[ref.key, ref.sha256] = unchanged, time.monotonic() + CHECKED_SECONDS
            self._checked.move_to_end((ref.key, ref.sha256))
            if len(self._checked) > MAX_CHECKED:
                self._checked.popitem(last=False)

    @contextmanager
    def _opened(self, ref: ArtifactRef) -> Iterator[BinaryIO]:
        try:
            file = cast("BinaryIO", self._fs.open(self._path(ref.key), "rb"))
        except FileNotFoundError as error:
            raise ArtifactMissing(f"storage has no file {ref.key!r}") from error
        with file:
            yield file

    def _remove(self, path: str, *, recursive: bool) -> None:
        try:
            self._fs.rm(path, recursive=recursive)
        except FileNotFoundError:
            return


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` once it is complete and on disk; an error changes nothing."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with _open_new(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _open_new(path: Path) -> IO[bytes]:
    return path.open("xb")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unchanged(file: BinaryIO) -> Unchanged:
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _hash(source: BinaryIO, target: IO[bytes] | None = None) -> tuple[str, int]:
    """Return the checksum and the length of a file, and copy it to ``target`` if given."""
    digest = hashlib.sha256()
    length = 0
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        if target is not None:
            target.write(block)
        length += len(block)
    return digest.hexdigest(), length


def _compare(ref: ArtifactRef, sha256: str, length: int) -> None:
    if length != ref.bytes:
        raise ArtifactCorrupt(f"the file {ref.key!r} has {length} bytes and should have {ref.bytes}")
    if sha256 != ref.sha256:
        raise ArtifactCorrupt(f"the file {ref.key!r} has another checksum than when it was stored")
