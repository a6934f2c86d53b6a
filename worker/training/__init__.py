"""Model selection, search and cost of trainings."""
