"""What runs beside requests: lost jobs and files found, metrics told."""
