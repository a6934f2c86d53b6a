"""Background work: recovery of lost jobs and files, metrics."""
