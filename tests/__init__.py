"""The tests: these mirror the modules; ``live`` runs against a real Asterisk and Postgres."""

from hypothesis import HealthCheck, settings

# How long an example takes says what else the machine has to do, and not what is right.
_slow = [HealthCheck.too_slow]
settings.register_profile("untimed", settings.default, deadline=None, suppress_health_check=_slow)
settings.load_profile("untimed")
