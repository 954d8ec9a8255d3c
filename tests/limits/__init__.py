"""Tests of what may be dialled."""
