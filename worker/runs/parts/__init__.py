"""Runs of parts of jobs, one file a kind."""
