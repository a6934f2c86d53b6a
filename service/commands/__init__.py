"""Commands of ``factrfm``. Those that call a running service use the Python client."""
