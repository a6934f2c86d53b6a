"""Files are stored whole or not at all, under checked keys, and compared with their checksum on reading."""

import hashlib
import os
import uuid
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from support.stored import at_once

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing, StorageFull
from worker.store.files import artifacts as artifacts_module
from worker.store.files.artifacts import Artifacts

CONTENT = bytes(range(256)) * 9000


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = tmp_path / "artifacts"
    return {"path": str(root), "file": f"file://{root}", "memory": f"memory://{uuid.uuid4().hex}"}[request.param]


@pytest.fixture
def artifacts(url: str) -> Artifacts:
    return Artifacts(url)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_comes_back_by_its_reference(artifacts: Artifacts, source: Path, tmp_path: Path, url: str) -> None:
    ref = artifacts.put_file("jobs/job_1/a.bin", source)
    assert ref == ArtifactRef(key="jobs/job_1/a.bin", sha256=hashlib.sha256(CONTENT).hexdigest(), bytes=len(CONTENT))
    assert artifacts.put_bytes("jobs/job_1/b.bin", CONTENT) == ref.model_copy(update={"key": "jobs/job_1/b.bin"})
    again = Artifacts(url)
    assert again.read_bytes(ref) == CONTENT
    for opened in (again.open, again.open_part, again.open_part):
        with opened(ref) as file:
            file.seek(1000)
            assert file.read(8) == CONTENT[1000:1008]
    for _ in range(2):
        assert again.local_copy(ref, tmp_path / "cache").read_bytes() == CONTENT


def test_a_file_is_replaced(artifacts: Artifacts) -> None:
    old = artifacts.put_bytes("a", b"old")
    new = artifacts.put_bytes("a", b"new")
    assert artifacts.read_bytes(new) == b"new"
    with pytest.raises(ArtifactCorrupt):
        artifacts.read_bytes(old)


def test_a_file_that_is_gone_is_missing(artifacts: Artifacts, tmp_path: Path) -> None:
    ref = artifacts.put_bytes("a/b", b"x")
    artifacts.delete("a/b")
    artifacts.delete("a/b")
    with pytest.raises(ArtifactMissing, match="a/b"):
        artifacts.read_bytes(ref)
    with pytest.raises(ArtifactMissing), artifacts.open(ref):
        pass
    with pytest.raises(ArtifactMissing):
        artifacts.local_copy(ref, tmp_path / "cache")


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"bytes": 3}])
def test_a_file_that_is_not_what_was_stored_is_corrupt(
    artifacts: Artifacts, tmp_path: Path, change: dict[str, object]
) -> None:
    ref = artifacts.put_bytes("a", b"content").model_copy(update=change)
    with pytest.raises(ArtifactCorrupt, match="'a'"):
        artifacts.read_bytes(ref)
    with pytest.raises(ArtifactCorrupt), artifacts.open(ref):
        pass
    with pytest.raises(ArtifactCorrupt):
        artifacts.local_copy(ref, tmp_path / "cache")


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(artifacts: Artifacts) -> None:
    gone = artifacts.put_bytes("jobs/job_1/t/a", b"x")
    kept = artifacts.put_bytes("jobs/job_12/a", b"x")
    for _ in range(2):
        artifacts.delete_prefix("jobs/job_1/")
    with pytest.raises(ArtifactMissing):
        artifacts.read_bytes(gone)
    assert artifacts.read_bytes(kept) == b"x"


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\\b", "a\x00", "~", ".a", "a" * 600, "a/ü", "a b"]
)
def test_a_key_leads_nowhere_else(artifacts: Artifacts, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        artifacts.put_bytes(key, b"x")
    with pytest.raises(ValueError, match="key"):
        artifacts.read_bytes(ArtifactRef(key=key, sha256="", bytes=0))
    with pytest.raises(ValueError, match="key"):
        artifacts.delete(key)


def test_a_storage_answers_its_check_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    Artifacts(str(tmp_path / "new")).check()
    assert files_under(tmp_path) == []


def test_a_storage_that_cannot_be_written_fails_its_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        Artifacts(str(tmp_path / "file")).check()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "artifacts"
    artifacts = Artifacts(str(root))
    ref = artifacts.put_bytes("a/b", b"old")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(artifacts_module.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        artifacts.put_file("a/b", source)
    assert artifacts.read_bytes(ref) == b"old"
    assert files_under(root) == ["a/b"]


def test_writers_of_one_key_leave_one_whole_file(tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    artifacts = Artifacts(str(root))
    refs = at_once([lambda n=n: artifacts.put_bytes("a", bytes([n]) * 10**6) for n in range(8)])
    content = (root / "a").read_bytes()
    assert [ref for ref in refs if isinstance(ref, ArtifactRef) and ref.sha256 == hashlib.sha256(content).hexdigest()]
    assert files_under(root) == ["a"]


def test_a_cached_copy_that_was_damaged_is_fetched_again(tmp_path: Path) -> None:
    artifacts = Artifacts(f"memory://{uuid.uuid4().hex}")
    ref = artifacts.put_bytes("a", b"content")
    copy = artifacts.local_copy(ref, tmp_path)
    copy.write_bytes(b"damaged")
    assert artifacts.local_copy(ref, tmp_path).read_bytes() == b"content"
    assert files_under(tmp_path) == [ref.sha256]


def test_files_keep_the_modes_that_the_process_gives(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    artifacts.put_bytes("a", b"")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_whole_file_is_read_as_a_stream(artifacts: Artifacts) -> None:
    ref = artifacts.put_bytes("a", CONTENT)
    with artifacts.open(ref) as file:
        assert BytesIO(file.read()).getvalue() == CONTENT


def test_folders_and_files_are_listed_below_a_folder(artifacts: Artifacts) -> None:
    for key in ("jobs/b/t/two", "jobs/a/t/one", "jobs/a/u/three", "models/c/t/four"):
        artifacts.put_bytes(key, b"x")
    assert artifacts.list_folders("jobs") == ["a", "b"]
    assert artifacts.list_folders("results") == []
    assert artifacts.list_strays("jobs/a") == ["jobs/a/t/one", "jobs/a/u/three"]
    artifacts.discard("jobs/a/t/one")
    artifacts.discard("jobs/a/t/one")
    assert "jobs/a/u/three" in artifacts.list_strays("jobs/a")
    assert "jobs/a/t/one" not in artifacts.list_strays("jobs/a")


def test_half_written_files_and_empty_folders_are_strays_too(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    (tmp_path / "jobs/a/t").mkdir(parents=True)
    (tmp_path / "jobs/a/t/.0123.tmp").write_bytes(b"half")
    assert artifacts.list_strays("jobs/a") == ["jobs/a/t/.0123.tmp"]
    artifacts.discard("jobs/a/t/.0123.tmp")
    assert artifacts.list_folders("jobs") == []
    (tmp_path / "jobs/b/t").mkdir(parents=True)
    assert artifacts.list_strays("jobs/b") == ["jobs/b/t/"]
    artifacts.discard("jobs/b/t/")
    assert artifacts.list_folders("jobs") == []


def test_a_folder_that_has_something_in_it_again_stays(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    artifacts.put_bytes("jobs/a/t/state", b"new")
    artifacts.discard("jobs/a/t/")
    assert artifacts.list_strays("jobs/a") == ["jobs/a/t/state"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = Artifacts(str(tmp_path))
    kept = artifacts.put_bytes("models/a/model", b"old")
    open_full = partial(Path("/dev/full").open, "wb")
    # the kernel's own device of no room: the write fails as it would on a full disk
    monkeypatch.setattr(artifacts_module, "_open_new", lambda path: open_full())
    with pytest.raises(StorageFull, match="no room left"):
        artifacts.put_bytes("models/a/model", CONTENT)
    assert artifacts.read_bytes(kept) == b"old"
    assert files_under(tmp_path) == ["models/a/model"]
