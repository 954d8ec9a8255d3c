"""What goes on now: calls that are up, operators, and what a restart has to catch up with."""
