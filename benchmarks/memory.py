"""What a process holds, by what Linux says of it."""

from pathlib import Path


def resident(process: int | str = "self") -> int:
    """Return the bytes that a process holds now, by default this one."""
    return _told(process, "VmRSS")


def peak(process: int | str = "self") -> int:
    """Return the most bytes that a process has held; unlike getrusage's, not that of the process that started it."""
    return _told(process, "VmHWM")


def _told(process: int | str, name: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this machine does not say how much memory a process holds")
