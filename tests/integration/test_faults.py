"""Every fault of the table under calls, once by day, three times at night: no chain is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import SystemRandom

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lab import Unavailable
from tests.depth import rounds
from tests.faults import pace
from tests.faults.injecting import Row
from tests.faults.rows import FAULTS

_TIMES = rounds(3)
#: Other moments each time.
_SEED = SystemRandom().randrange(10**6)


def test_name(row: str) -> str:
    """How the test of a row is called."""
    return "test_" + "".join(letter if letter.isalnum() else "_" for letter in row.lower())


class FaultsTests(SynchronousTestCase):
    """A test for each row, which needs no other one."""

    each_alone = True
    #: Seconds, about: a row is not over before its calls are.
    lasts = 15.0
    longest = max(Row(fault.name, _TIMES, pace.SHORT, _SEED).within for fault in FAULTS)

    def row(self, name: str) -> None:
        """Nothing is wrong with it."""
        row = Row(name, _TIMES, pace.SHORT, _SEED)
        try:
            result = row.run(lambda line: print(line, flush=True))
        except Unavailable as error:
            if os.environ.get("CI") == "true":
                self.fail(f"CI=true, and the lab cannot be had: {error}")
            raise SkipTest(f"the lab cannot be had here: {error}") from error
        print(f"seed {_SEED}")
        print(" | ".join(result.cells), *result.notes, sep="\n", flush=True)
        self.assertEqual(result.wrong, [])
        self.assertGreater(result.checked, 0)


def _test_of(name: str) -> Callable[[FaultsTests], None]:
    def test(self: FaultsTests) -> None:
        self.row(name)

    test.__doc__ = f"{name}: every chain is right."
    return test


for _fault in FAULTS:
    setattr(FaultsTests, test_name(_fault.name), _test_of(_fault.name))
