"""schemathesis against a running service: every call of the OpenAPI document, every check of every answer."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOOKS = Path(__file__).with_name("hooks.py")
BODIES = {"dataset": "dataset_id", "target": "target"}
KNOWN_SHARE = 0.6
"""How often a parameter of a path names something that there is."""
REQUEST_SECONDS = 30
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "431"]
"""What a request that its schema forbids may be answered. A long list makes a body too long, 413, or a head, 431."""

# Every check is on. What a schema cannot say of a request is whether its dataset, model, columns or key exist and fit
# together, whether a file is a table, how long a file and how many its parts are, which versions a model has, and which
# state If-Match names: there, and only there, a valid request may be refused.
# Deletions take what links lead to; were they also given what there is, soon there would be nothing.
OPERATIONS = """
[[operations]]
include-method = "DELETE"
parameters."path.dataset_id" = {dictionary = "absent", probability = 0.5}
parameters."path.job_id" = {dictionary = "absent", probability = 0.5}
parameters."path.ref" = {dictionary = "absent", probability = 0.5}
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "429"]

[[operations]]
include-method = ["POST", "PATCH", "PUT"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "415", "422", "429"]

[[operations]]
include-path = "/v1/jobs/{job_id}/result"
parameters."path.job_id" = {dictionary = "with_result", probability = 0.7}
checks.positive_data_acceptance.expected-statuses = ["2xx", "304", "401", "403", "404", "409", "416", "429"]

[[operations]]
include-path-regex = "/(content|export|card)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "304", "401", "403", "404", "409", "416", "429"]

# which columns there are, and of what type, no document can say
[[operations]]
include-path-regex = "/(matrix|histogram)$"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "304", "401", "403", "404", "409", "416", "422", "429", "431"
]
"""


@dataclass(frozen=True)
class Outcome:
    """What one run of schemathesis found."""

    complete: bool
    cases: int
    seconds: float
    operations: int
    failures: list[str]
    rates: Mapping[str, Mapping[str, int]]
    output: str


def run(
    url: str,
    things: Mapping[str, Sequence[str]],
    folder: Path,
    *,
    phases: str,
    examples: int,
    seed: int,
    seconds: int | None = None,
    key: str | None = None,
) -> Outcome:
    """Fuzz the service at ``url``. ``things`` are values of path parameters; ``seconds`` a bound on the whole run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schemathesis.toml").write_text(_configuration(things, key))
    report = folder / "report.json"
    arguments = [str(Path(sys.executable).with_name("st")), "--config-file", str(folder / "schemathesis.toml"), "run"]
    arguments += [f"{url}/openapi.json", "--phases", phases, "--max-examples", str(examples), "--seed", str(seed)]
    arguments += ["--checks", "all", "--continue-on-failure", "--generation-database", "none", "--no-color"]
    arguments += ["--report", "json", "--report-json-path", str(report)]
    arguments += ["--request-timeout", str(REQUEST_SECONDS)]
    arguments += [] if seconds is None else ["--max-time", str(seconds)]
    given = {"ENDED_JOBS": ",".join(things["ended"]), "DATASET": things["dataset_id"][0], "SEED": str(seed)}
    environment = {**os.environ, **{f"FUZZ_{name}": value for name, value in given.items()}}
    environment |= {"SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    if not report.exists():
        raise RuntimeError(f"schemathesis wrote no report:\n{done.stdout}{done.stderr}")
    return _outcome(json.loads(report.read_text()), done.stdout)


def _configuration(things: Mapping[str, Sequence[str]], key: str | None) -> str:
    known = {"target": ["price", "city", "y", "x0"], "absent": ["absent"], **things}
    lines = [f"[dictionaries.{name}]\nvalues = {json.dumps(list(values))}" for name, values in known.items()]
    lines += ["[parameters]"]
    for name in things.keys() - {"ended", "with_result"}:
        lines.append(f'"path.{name}" = {{dictionary = "{name}", probability = {KNOWN_SHARE}}}')
    for field, name in BODIES.items():
        lines.append(f'"body.{field}" = {{dictionary = "{name}", probability = {KNOWN_SHARE}}}')
    if key is not None:
        lines.append(f'[auth.openapi.key]\nbearer = "{key}"')
    lines += ["[checks.negative_data_rejection]", f"expected-statuses = {json.dumps(REFUSALS)}"]
    return "\n".join(lines) + OPERATIONS


def _outcome(report: Mapping[str, object], output: str) -> Outcome:
    loaded: dict = dict(report)
    failures = [f"{one['title']}: {', '.join(one['operations'])}" for one in loaded["failures"]]
    failures += [f"error: {json.dumps(one)[:300]}" for one in loaded["errors"]]
    rates: dict[str, dict[str, int]] = {}
    for operation, phases in loaded["valid_rates"].items():
        rates[operation] = {}
        for counts in phases.values():
            for name, count in counts.items():
                rates[operation][name] = rates[operation].get(name, 0) + count
    return Outcome(
        complete=bool(loaded["complete"]),
        cases=loaded["test_cases"]["generated"],
        seconds=loaded["running_time"],
        operations=loaded["operations"]["tested"],
        failures=failures,
        rates=rates,
        output=output,
    )
