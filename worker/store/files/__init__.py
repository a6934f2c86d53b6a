"""Files that rows name."""
