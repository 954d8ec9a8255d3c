"""Tests of ``ccdaemon check``."""
