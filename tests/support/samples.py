"""What an older version of the service made, as the home of a service of today: see tests/samples."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[1] / "samples" / "schema-0001"
EXPECTED: dict[str, Any] = json.loads((SAMPLE / "expected.json").read_text())


def restore_sample(home: Path) -> None:
    """Make ``home``, with the models ``prices``, ``kinds`` and ``tuned`` of the columns size and city."""
    home.mkdir()
    shutil.copytree(SAMPLE / "artifacts", home / "artifacts")
    connection = sqlite3.connect(home / "factrfm.db")
    connection.executescript((SAMPLE / "database.sql").read_text())
    connection.close()
