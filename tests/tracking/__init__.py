"""Tests of following calls and operators."""
