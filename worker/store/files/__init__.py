"""Files that rows refer to."""
