"""A stored model that answers tables: the documented name of ``worker.serving.model``."""

from worker.serving.model import Answer, Origin, ServedModel, load

__all__ = ["Answer", "Origin", "ServedModel", "load"]
