"""Pieces of the benchmark ``scale``: a service with some workers, tables, and what each section measures."""
