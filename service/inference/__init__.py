"""Rows in, answers out."""
