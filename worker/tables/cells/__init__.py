"""Single cells: their words for missing values, moments, and how numbers are written."""
