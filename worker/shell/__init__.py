"""The Celery task and the supervisor of the training process."""
