"""Decoding of rows and encoding of predictions."""
