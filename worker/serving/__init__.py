"""Predictions and explanations of a stored model."""
