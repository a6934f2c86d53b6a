"""The training library and its Celery shell."""

VERSION = "0.1.0"
