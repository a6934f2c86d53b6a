"""Upload of datasets, and warnings about them."""
