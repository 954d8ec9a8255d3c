"""What may be dialled, when and how often: the guard against a bill that nobody wanted."""
