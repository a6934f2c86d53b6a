"""Runs tests with the arithmetic of other processors: ``python tests/support/arithmetic.py TEST …``.

A processor decides in which order sums are added and what is fused, and so the last digits. These say so instead of it:

- ``ATEN_CPU_CAPABILITY``: torch's own loops.
- ``MKL_CBWR``: products and factorisations of matrices. ``COMPATIBLE`` is as on the oldest processors. MKL looks at the
  rest of it on Intel's processors only; for others a library of two functions tells it that it runs on one.
- ``OMP_NUM_THREADS``: into how many parts sums are split.

Every combination that this processor can do runs all the tests. Ends with 1 where one of them failed.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CAPABILITIES = ("default", "avx2", "avx512")
THREADS = ("1", "2")
IS_INTEL = "int mkl_serv_intel_cpu(void) { return 1; }\nint mkl_serv_intel_cpu_true(void) { return 1; }\n"
FOUND = "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
LOGS = Path("build/arithmetic")

Variables = dict[str, str]


def settings(folder: Path) -> Iterator[Variables]:
    """Yield the variables of each combination; ``folder`` takes the library that MKL asks."""
    products: list[Variables] = [{}, {"MKL_CBWR": "COMPATIBLE"}]
    if "GenuineIntel" in Path("/proc/cpuinfo").read_text():
        products.append({"MKL_CBWR": "AVX2"})
    else:
        intel = {"LD_PRELOAD": _compiled(folder)}
        products += [intel, {**intel, "MKL_CBWR": "AVX2"}]
    for capability in CAPABILITIES:
        variables = {"ATEN_CPU_CAPABILITY": capability}
        taken = _run([sys.executable, "-c", FOUND], variables).stdout.strip()
        if taken != capability:
            print(f"{_name(variables)}: not on this processor, which gives {taken}", flush=True)
            continue
        for product, threads in itertools.product(products, THREADS):
            yield {**variables, **product, "OMP_NUM_THREADS": threads}


def _compiled(folder: Path) -> str:
    library = folder / "libintel.so"
    compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(compiler, input=IS_INTEL, text=True, check=True)
    return str(library)


def _run(command: list[str], variables: Variables) -> "subprocess.CompletedProcess[str]":
    # on a busy machine, threads that wait for each other by turning take the time of those that they wait for
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ, **variables}
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _name(variables: Variables) -> str:
    return " ".join(f"{name}={Path(value).name}" for name, value in variables.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="+", help="files, folders and options for pytest")
    given, options = parser.parse_known_args()
    LOGS.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for variables in settings(Path(folder)):
            run = _run([sys.executable, "-m", "pytest", "-q", *given.tests, *options], variables)
            (LOGS / f"{_name(variables).replace(' ', '-')}.txt").write_text(run.stdout)
            said = run.stdout.strip().splitlines()
            print(f"{_name(variables)}: {said[-1] if said else f'ended with {run.returncode}'}", flush=True)
            for line in said:
                if line.startswith(("FAILED", "ERROR")):
                    print(f"  {line}", flush=True)
            failed += run.returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
