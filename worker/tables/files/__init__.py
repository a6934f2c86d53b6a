"""From files to typed tables, one module per format."""
