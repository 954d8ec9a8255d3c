"""Calls as facts and decisions, without any I/O."""
