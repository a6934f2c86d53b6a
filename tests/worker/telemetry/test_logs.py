"""Lines of the log: of ours and of libraries in one form, whole, and none that stops anybody."""

import json
import subprocess
import sys

BEGIN = """
import logging, os, sys, threading
import structlog
from worker.telemetry.logs import configure_logging
configure_logging("info", "json")
log = structlog.get_logger()
"""


def written(program: str) -> list[dict[str, object]]:
    run = subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stderr.splitlines()]


def test_lines_of_ours_and_of_libraries_have_one_form():
    ours, theirs = written(
        """
structlog.contextvars.bind_contextvars(request_id="mine")
log.warning("one", path="/a\\nb")
log.debug("nobody sees it")
logging.getLogger("celery").warning("two")
"""
    )
    assert {"event": "one", "path": "/a\nb", "level": "warning", "request_id": "mine"}.items() <= ours.items()
    assert {"event": "two", "logger": "celery", "level": "warning", "request_id": "mine"}.items() <= theirs.items()
    assert {type(line["timestamp"]) for line in (ours, theirs)} == {str}


def test_an_error_is_told_with_its_traceback():
    [line] = written(
        """
try:
    1 / 0
except ZeroDivisionError as error:
    log.error("failed", exc_info=error)
"""
    )
    assert "ZeroDivisionError" in str(line["exception"])


def test_lines_of_many_threads_stay_whole():
    lines = written(
        """
def write():
    for _ in range(300):
        log.info("x" * 200)
        logging.getLogger("other").warning("y" * 200)
threads = [threading.Thread(target=write) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    assert sorted(str(line["event"]) for line in lines) == ["x" * 200] * 1200 + ["y" * 200] * 1200


def test_a_log_that_cannot_be_written_stops_nobody():
    program = """
end, other = os.pipe()
os.close(end)
os.dup2(other, 2)
log.info("nobody reads it")
print("went on")
"""
    run = subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=False)
    assert run.stdout == "went on\n"


def test_where_there_is_no_stream_nothing_is_written_and_nobody_stops():
    program = """
import sys
sys.stderr = None
from worker.telemetry.logs import configure_logging
for form in ("json", "text"):
    configure_logging("info", form)
    import structlog
    structlog.get_logger().info("nobody reads it")
print("went on")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout == "went on\n"
