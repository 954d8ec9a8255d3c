"""How deep a run goes: one of everything, as always, or every repeat, as at night.

``CCDAEMON_TESTS=nightly`` in the environment is the night's; ``python -m tests.run --nightly`` sets
it for all that it starts.
"""

from __future__ import annotations

import os
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

VARIABLE, AT_NIGHT = "CCDAEMON_TESTS", "nightly"
NIGHTLY = os.environ.get(VARIABLE) == AT_NIGHT

#: By day hypothesis tries this part of its examples, at night so many times all of them.
_BY_DAY, _BY_NIGHT = 0.25, 3
#: What hypothesis tries if nobody says anything.
_USUAL = 100


def rounds(nightly: int) -> int:
    """How often something is done that is only done again to catch what is rare."""
    return nightly if NIGHTLY else 1


def at_night(test: T) -> T:
    """Mark a test or a class as one that need not run each time."""
    test.nightly = True  # type: ignore[attr-defined]
    return test


def examples(usual: int) -> int:
    """How many examples hypothesis tries."""
    return usual * _BY_NIGHT if NIGHTLY else max(1, round(usual * _BY_DAY))


def set_hypothesis() -> None:
    """Let every property that says nothing else try as many as the run is deep."""
    # How long an example takes says what else the machine has to do, and not what is right.
    settings.register_profile(
        "ccdaemon",
        settings.default,
        deadline=None,
        max_examples=examples(_USUAL),
        # By day the same ones each time: what is covered, and what fails, is of the code alone.
        derandomize=not NIGHTLY,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("ccdaemon")
