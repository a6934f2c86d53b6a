"""Files damaged in ways that formats are weak against end in a table or in an error of ours, and take little memory."""

import pytest

from benchmarks.fuzzing.corpus import corpus
from benchmarks.fuzzing.readers import ALLOWED_GROWTH, ENDED, OURS, read_damaged
from worker.tables.media import PARQUET

FILES = 60


@pytest.mark.parametrize("kind", corpus())
def test_a_damaged_file_is_read_or_refused(tmp_path, kind):
    found = read_damaged(kind, 5, tmp_path, seconds=60, files=FILES)
    assert found["files"] == FILES
    # the service reads Parquet in processes that may end; every other form must never end one
    assert set(found["ends"]) <= {"read", *OURS, *([ENDED] if kind == PARQUET else [])}
    assert found["growth"] < ALLOWED_GROWTH
