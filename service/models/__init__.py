"""Views of models: feature matrices, cards, comparisons, explanations."""
