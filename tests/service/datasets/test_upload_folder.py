"""Folders of uploads go with their upload, or are found when the process that received it died."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.datasets.upload_folder import UploadSweeper, upload_folder
from worker.contracts.errors import StorageFull

HOLD = """
import sys
from pathlib import Path
from service.datasets.upload_folder import upload_folder
with upload_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_live_upload_is_never_touched_and_that_of_a_dead_one_goes(tmp_path: Path) -> None:
    now = [0.0]
    sweeper = UploadSweeper(tmp_path, 60, lambda: now[0])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        (folder / "body").write_bytes(b"half an upload")
        for _ in range(3):
            sweeper.look()
            now[0] += 60
        assert folder.is_dir()
        other.send_signal(signal.SIGKILL)
        other.wait()
    sweeper.look()
    assert folder.is_dir()
    now[0] += 60
    sweeper.look()
    assert not folder.exists()


def test_the_folder_goes_with_its_upload(tmp_path: Path) -> None:
    with upload_folder(tmp_path) as folder:
        (folder / "body").write_bytes(b"x")
    assert list(tmp_path.glob("tmp/*")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_no_room_for_an_upload_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageFull), upload_folder(tmp_path), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
