"""Tests of ``ccdaemon.store``."""
