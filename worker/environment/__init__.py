"""What the place says in which a process runs: addresses, secrets, the home folder, control groups."""
