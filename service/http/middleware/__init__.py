"""What surrounds every call, one idea a file."""
