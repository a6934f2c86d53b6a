"""A message in, one computing process followed."""
