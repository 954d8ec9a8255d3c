"""Tests on a real Asterisk with real phones, a real Postgres and the daemon as a child process."""
