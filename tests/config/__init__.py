"""Tests of ``ccdaemon.config``."""
