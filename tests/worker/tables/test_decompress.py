import gzip
import random
import subprocess
import sys

DAMAGED = 300
READING = f"""
import resource, sys
from pathlib import Path
from worker.contracts.errors import UnreadableTable
from worker.tables.decompress import decompress

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def damaged(times):
    for _ in range(times):
        try:
            decompress(Path(sys.argv[1]), "gzip", Path(sys.argv[1] + ".out"), 2**24)
        except UnreadableTable:
            continue
        raise AssertionError("it was read")

damaged(5)
before = peak()
damaged({DAMAGED})
print(peak() - before)
"""


def test_a_damaged_body_leaves_no_memory_behind(tmp_path):
    source = tmp_path / "body"
    source.write_bytes(gzip.compress(random.Random(0).randbytes(900_000))[:-1000])
    said = subprocess.run([sys.executable, "-c", READING, str(source)], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    # what is written of each before the damage is found would come to 270 MB
    assert int(said.stdout) < 50 * 2**20
