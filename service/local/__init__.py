"""Running on one machine: child processes, preflight checks, the demo."""
