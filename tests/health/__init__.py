"""Tests of ``ccdaemon.health``."""
