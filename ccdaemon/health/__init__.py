"""How the daemon is: its conditions, its numbers, and what systemd is told."""
