"""Recordings on the disk: where they are, what they become, and how long they stay."""
