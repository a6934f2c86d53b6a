"""The PostgreSQL server of tests is the one that the fault harness kills and starts again."""

from benchmarks.faulting.postgres import PostgresServer, find_binaries

__all__ = ["PostgresServer", "find_binaries"]
