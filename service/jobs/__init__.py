"""Planning and submission of jobs."""
