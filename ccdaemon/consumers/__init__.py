"""What reads the event log on and does something with it."""
