"""Tests of ``ccdaemon.switchboard``."""
