"""Workbooks of spreadsheet programs, of which one sheet is a table."""
