"""Rows to predict to the same arrays."""
