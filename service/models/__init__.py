"""What callers see of models: feature matrices, cards, comparisons, explanations."""
