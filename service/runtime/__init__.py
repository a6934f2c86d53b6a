"""What one API process holds while it runs: models in memory, readers, the queue."""
