"""Tests of ``ccdaemon.recordings``."""
