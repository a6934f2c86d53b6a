"""From the body of an upload to a stored dataset."""
