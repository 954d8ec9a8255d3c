"""Tests of the event log's consumers."""
