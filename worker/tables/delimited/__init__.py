"""Text files of rows of separated cells, such as CSV."""
