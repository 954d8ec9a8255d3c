"""Faults: the real daemon under calls, and everything around it failing at random moments.

``python -m tests.faults --help``. Afterwards the history is held against what the phones saw and
against what Asterisk wrote down.
"""
