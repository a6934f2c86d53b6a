"""Everything on one machine: child processes, checks before a start, the demonstration."""
