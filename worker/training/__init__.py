"""From a spec to how to fit: model selection, search, cost."""
