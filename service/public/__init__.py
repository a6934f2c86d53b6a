"""The folder of the public package ``factrfm``."""
