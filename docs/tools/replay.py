"""Replays pages: what they show is typed again, and what comes of it is compared with what they say.

Of a page, these blocks are replayed, in their order and in one folder:

- ``console``: a line that begins with ``$`` is a command, lines with ``>`` go on with it, others are its output.
  ``factrfm up`` runs until the page ends. All other commands go to one shell. A command that shows output must give
  that output. One that shows none must end with 0.
- ``python``: run in one interpreter. A ``text`` block right after it is its output.
- ``python`` or ``yaml`` with a ``title``: a file of that name.

In outputs ``...`` stands for anything, several spaces count as one, and the service's port is 8000. A comment
``<!-- not replayed -->`` before a block leaves it out.
"""

import argparse
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.local.embedded import is_ready, private_service

DOCS = Path(__file__).parents[1]
PAGES = ("tutorial.md", *sorted(f"how-to/{path.name}" for path in (DOCS / "how-to").glob("*.md")))
PORT = 8000
PATIENCE_S = 60
MARK = "--replayed--"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SKIP = "<!-- not replayed -->\n"
INTERPRETER = f"""
import sys, traceback
space = {{"__name__": "__main__"}}
while True:
    length = sys.stdin.buffer.readline()
    if not length:
        break
    text, code = sys.stdin.buffer.read(int(length)).decode(), 0
    try:
        exec(compile(text, "the page", "exec"), space)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        code = 1
    print(f"\\n{MARK} {{code}}", flush=True)
"""


@dataclass(frozen=True)
class Step:
    """One thing that a page does: a ``command``, a ``program`` or a ``file``. ``shown`` None: no output is shown."""

    kind: str
    text: str
    shown: str | None = None
    name: str = ""

    @property
    def starts_service(self) -> bool:
        """Whether it is ``factrfm up``, which does not end by itself."""
        return self.kind == "command" and self.text.split()[:2] == ["factrfm", "up"]


def steps(page: str) -> Iterator[Step]:
    """Yield what a page does, in its order."""
    blocks = list(BLOCK.finditer(page))
    for index, block in enumerate(blocks):
        language, title, text = block[1], block[2], block[3]
        if page[: block.start()].endswith(SKIP):
            continue
        if title is not None:
            yield Step("file", text, name=title)
        elif language == "console":
            yield from _commands(text)
        elif language == "python":
            after = blocks[index + 1] if index + 1 < len(blocks) else None
            told = after is not None and after[1] == "text" and not page[block.end() : after.start()].strip()
            yield Step("program", text, after[3] if told and after is not None else None)


def _commands(text: str) -> Iterator[Step]:
    command, shown = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield Step("command", command, shown or None)
            command, shown = line[2:], ""
        elif line.startswith("> ") and not shown:
            command += f"\n{line[2:]}"
        else:
            shown += f"{line}\n"
    yield Step("command", command, shown or None)


class Shell:
    """A program that is given texts and answers each with its output and a code, in ``folder``."""

    def __init__(self, program: list[str], folder: Path, environment: dict[str, str], *, framed: bool) -> None:
        self._framed = framed
        self._process = subprocess.Popen(
            program,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it; what hangs is killed."""
        self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def run(self, text: str) -> tuple[str, int]:
        """Return what a text printed, and how it ended.

        Raises:
            TimeoutError: it does not end.
        """
        if self._framed:
            content = text.encode()
            sent = f"{len(content)}\n".encode() + content
        else:
            sent = f"{{ {text}\n}} </dev/null\nprintf '\\n{MARK} %s\\n' $?\n".encode()
        self._process.stdin.write(sent)  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        found = b""
        ends_at = time.monotonic() + PATIENCE_S
        while not (ended := re.search(rf"\n{MARK} (\d+)\n".encode(), found)):
            ready, _, _ = select.select([self._process.stdout], [], [], max(ends_at - time.monotonic(), 0))
            piece = os.read(self._process.stdout.fileno(), 65536) if ready else b""  # type: ignore[union-attr]
            if not piece:
                raise TimeoutError(f"{text}\ndid not end; so far: {found.decode()}")
            found += piece
        return found[: ended.start()].decode(), int(ended[1])


def replay(page: Path, folder: Path, port: int, environment: dict[str, str]) -> list[str]:
    """Do in ``folder`` what ``page`` does, against the service at ``port``; return what differs from the page."""
    environment = {
        **environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "COLUMNS": "100",
        "PYTHONPATH": str(DOCS.parent),
        "FACTRFM_PORT": str(port),
        "FACTRFM_URL": f"http://127.0.0.1:{port}",
        "FACTRFM_THREADS": environment.get("OMP_NUM_THREADS", "1"),
    }
    services: list[subprocess.Popen[bytes]] = []
    wrong: list[str] = []
    python = [sys.executable, "-W", "error", "-c", INTERPRETER]
    try:
        with (
            Shell(["bash"], folder, environment, framed=False) as shell,
            Shell(python, folder, environment, framed=True) as interpreter,
        ):
            for step in steps(page.read_text(encoding="utf-8")):
                if step.kind == "file":
                    (folder / step.name).write_text(_there(step.text, port), encoding="utf-8")
                    continue
                if step.starts_service:
                    services.append(_up(step.text, folder, port, environment))
                    output, code = (folder / "up.log").read_text(), 0
                else:
                    output, code = (shell if step.kind == "command" else interpreter).run(_there(step.text, port))
                output = output.replace(f":{port}", f":{PORT}")
                if not _fits(step, output, code):
                    wrong.append(f"{page.name}: {step.text}\nshows\n{step.shown}\nand gave (code {code})\n{output}")
    finally:
        for service in services:
            service.send_signal(signal.SIGINT)
            service.wait(30)
    return wrong


def _up(command: str, folder: Path, port: int, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / "up.log").open("wb") as log:
        service = subprocess.Popen(
            command.split(), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    ends_at = time.monotonic() + PATIENCE_S
    while "Ctrl-C" not in (folder / "up.log").read_text() or not is_ready(f"http://127.0.0.1:{port}"):
        if service.poll() is not None or time.monotonic() > ends_at:
            service.kill()
            raise TimeoutError(f"{command} did not come up: {(folder / 'up.log').read_text()}")
        time.sleep(0.1)
    return service


def _there(text: str, port: int) -> str:
    return text.replace(f":{PORT}", f":{port}")


def _fits(step: Step, output: str, code: int) -> bool:
    if step.shown is None:
        return code == 0
    pattern = re.escape(_trimmed(step.shown)).replace(re.escape("..."), ".*?")
    return re.fullmatch(pattern, _trimmed(output), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def main() -> None:
    """Replay pages by hand, and keep the pictures that their commands draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", default=PAGES, help="of docs/, e.g. tutorial.md")
    parser.add_argument("--port", type=int, default=8599, help="a free port for the service")
    parser.add_argument("--pictures", type=Path, help="folder to copy the pictures to")
    given = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACTRFM_")}
    wrong: list[str] = []
    for name in given.pages:
        found = list(steps((DOCS / name).read_text()))
        with tempfile.TemporaryDirectory(prefix="factrfm-replay-") as folder, ExitStack() as stack:
            port = given.port
            if not any(step.starts_service for step in found):
                url, _ = stack.enter_context(private_service(print))
                port = int(url.rpartition(":")[2])
            wrong += replay(DOCS / name, Path(folder), port, environment)
            if given.pictures is not None:
                for picture in Path(folder).glob("*.png"):
                    shutil.copy(picture, given.pictures / picture.name)
    sys.exit("\n\n".join(wrong) or None)


if __name__ == "__main__":
    main()
