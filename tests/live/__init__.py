"""Tests on a real Asterisk, a real Postgres and the real daemon; they need root, or are skipped."""
