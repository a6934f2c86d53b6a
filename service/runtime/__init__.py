"""Resources of one API process: loaded models, reader processes, the queue."""
