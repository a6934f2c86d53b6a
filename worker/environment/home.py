"""The folder of local state, which only its own user may look into: it holds tables, models and the database."""

from pathlib import Path

OTHERS = 0o007


def make_home(home: Path) -> None:
    """Make the folder where it is missing, for its user alone. One that is there is left as it is."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_to_others(home: Path) -> str | None:
    """Return that every user of this machine may look into the folder, and what would help; None where they may not.

    It is not mended here: a group, or another user by whom a worker runs, may have been let in on purpose.
    """
    try:
        mode = home.stat().st_mode & 0o777
    except OSError:
        return None
    if not mode & OTHERS:
        return None
    return f"{home.absolute()} has the mode {mode:04o}, so every user of this machine may look into it: chmod 700 it"
