"""Storage for runs: every error of an unreachable storage becomes StorageUnavailable."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import FactRFMError, StorageUnavailable
from worker.store.files.artifacts import Artifacts


class RunStorage(Artifacts):
    """Raises StorageUnavailable if storage cannot be reached, so that the job is retried."""

    def put_file(self, key: str, path: Path) -> ArtifactRef:
        with _reaching(key):
            return super().put_file(key, path)

    def put_bytes(self, key: str, content: bytes) -> ArtifactRef:
        with _reaching(key):
            return super().put_bytes(key, content)

    def read_bytes(self, ref: ArtifactRef) -> bytes:
        with _reaching(ref.key):
            return super().read_bytes(ref)

    @contextmanager
    def open_part(self, ref: ArtifactRef) -> Iterator[BinaryIO]:
        with _reaching(ref.key), super().open_part(ref) as file:
            yield file

    def read_parts(self, ref: ArtifactRef, parts: Sequence[tuple[int, int]]) -> list[bytes]:
        with _reaching(ref.key):
            return super().read_parts(ref, parts)

    def local_copy(self, ref: ArtifactRef, cache_dir: Path) -> Path:
        with _reaching(ref.key):
            return super().local_copy(ref, cache_dir)


@contextmanager
def _reaching(key: str) -> Iterator[None]:
    try:
        yield
    except (FactRFMError, MemoryError):
        raise
    except Exception as error:  # every storage library has its own errors, and their texts may hold addresses
        raise StorageUnavailable(f"storage could not be used for {key}: {type(error).__name__}") from error
