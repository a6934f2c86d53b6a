"""The environment of a process: addresses, secrets, the home folder, control groups."""
