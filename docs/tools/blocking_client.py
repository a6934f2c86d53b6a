"""Writes the client that blocks out of the client that awaits: ``python -m docs.tools.blocking_client``.

``unasync`` takes the words of awaiting away, token by token; here is what else differs.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from unasync import Rule, unasync_files

REPOSITORY = Path(__file__).parents[2]
CLIENT = Path("service/client")
FILES = {"aio.py": "sync.py", "aio_sender.py": "sync_sender.py"}
NAMES = {
    "AsyncBaseTransport": "BaseTransport",
    "AsyncClient": "Client",
    "AsyncSender": "Sender",
    "aclose": "close",
    "aio_sender": "sync_sender",
    "aiter_lines": "iter_lines",
    "aread": "read",
    # of which only sleep is used
    "asyncio": "time",
    "opened_async": "opened",
    "result_async": "result",
}
TEXTS = {
    "The asynchronous client. ``Client`` has the same methods.": "The blocking client.",
    "the asynchronous client": "the blocking client",
    "in an ``async with`` block": "in a ``with`` block",
}
MARK = "# Made from {source} by `make client`: change that file, not this one.\n"
RUFF = (sys.executable, "-m", "ruff")


def made() -> dict[Path, str]:
    """Return every generated file, relative to the repository, with its text."""
    with tempfile.TemporaryDirectory(prefix="factrfm-client-") as folder:
        rules = [Rule(f"/{name}", f"/{FILES[name]}", NAMES) for name in FILES]
        for name in FILES:
            (Path(folder) / name).write_text((REPOSITORY / CLIENT / name).read_text())
        unasync_files([f"{folder}/{name}" for name in FILES], rules)
        return {CLIENT / target: _finished(CLIENT / source, Path(folder) / target) for source, target in FILES.items()}


def _finished(source: Path, made: Path) -> str:
    text = made.read_text()
    for old, new in TEXTS.items():
        text = text.replace(old, new)
    # other names sort otherwise, shorter ones fit on a line, and a loop that yields is a delegation
    linted = _ruff("check", "--fix", "--unsafe-fixes", "--select=I,UP028", text=MARK.format(source=source) + text)
    return _ruff("format", text=linted)


def _ruff(command: str, *options: str, text: str) -> str:
    program = [*RUFF, command, *options, "--quiet", f"--config={REPOSITORY / 'pyproject.toml'}", "-"]
    return subprocess.run(program, input=text, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout


if __name__ == "__main__":
    for path, text in made().items():
        (REPOSITORY / path).write_text(text)
