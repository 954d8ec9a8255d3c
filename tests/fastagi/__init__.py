"""Tests of the FastAGI server."""
