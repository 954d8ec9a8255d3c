"""Tests of the HTTP API, through the real Klein stack in memory."""
