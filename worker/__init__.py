"""The training library and its Celery worker."""

VERSION = "0.1.0"
