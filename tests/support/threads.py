"""How many threads the computations of tests take."""

import os

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
"""One where nothing is said: small problems are quicker so, and their sums are always added in the same order."""
