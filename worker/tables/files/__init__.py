"""Bytes to typed tables, one file a format."""
