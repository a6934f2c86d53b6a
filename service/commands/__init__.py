"""The commands of ``factrfm`` that talk to a running service, through the Python client alone."""
