"""Tests of ``ccdaemon.history``."""
