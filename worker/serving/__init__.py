"""A stored model, and what it says of rows."""
