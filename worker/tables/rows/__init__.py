"""Rows to predict, matched to a model's features."""
