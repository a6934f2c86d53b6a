"""Ridge systems: one interface, and the ways to solve them."""
