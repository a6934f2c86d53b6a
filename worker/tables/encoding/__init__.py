"""Typed tables to arrays."""
