"""The folder of local state, readable only by its user: it holds tables, models and the database."""

from pathlib import Path

OTHERS = 0o007


def make_home(home: Path) -> None:
    """Create the folder with access for its user only. An existing folder stays unchanged."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_to_others(home: Path) -> str | None:
    """Return a warning with a remedy if every user of this machine may read the folder, else None.

    The mode is not changed here: access for a group or for another worker's user may be intended.
    """
    try:
        mode = home.stat().st_mode & 0o777
    except OSError:
        return None
    if not mode & OTHERS:
        return None
    return f"{home.absolute()} has the mode {mode:04o}, so every user of this machine may look into it: chmod 700 it"
