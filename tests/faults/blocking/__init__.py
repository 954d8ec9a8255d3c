"""What a daemon of a fault runs before its own code."""
