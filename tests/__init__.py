"""The tests: these mirror the modules; ``live`` runs against a real Asterisk and Postgres."""
