"""The tests: these mirror the modules; ``live`` runs against a real Asterisk and Postgres."""

from tests.depth import set_hypothesis

set_hypothesis()
