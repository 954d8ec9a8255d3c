"""Every fault of the table, three times under calls: no chain may be wrong.

The rows whose tests were loaded are run at once by ``python -m tests.faults --short``, with the
first test that asks. So where one of them is run once more, by its name, its row alone is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.faults.rows import FAULTS

#: Seconds. On two cores that nobody else needs it takes less than eight minutes.
_LONGEST = 1200.0


def test_name(row: str) -> str:
    """How the test of a row is called."""
    return "test_" + "".join(letter if letter.isalnum() else "_" for letter in row.lower())


def rows_of(tests: Collection[str]) -> list[str]:
    """The rows of tests, in the order of the table."""
    return [fault.name for fault in FAULTS if test_name(fault.name) in tests]


@cache
def short_run(rows: tuple[str, ...]) -> dict[str, Any]:
    """What came of it: what was wrong, by row. Its progress is shown as it goes."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        argv = [sys.executable, "-m", "tests.faults", "--short", "--json", str(told), *rows]
        print(flush=True)
        here = Path(__file__).parents[2]
        status = subprocess.run(argv, cwd=here, timeout=_LONGEST, check=False).returncode
        if not told.exists():
            return {"unavailable": None, "rows": {}, "status": status}
        report: dict[str, Any] = json.loads(told.read_text("utf-8"))
        return report


class FaultsTests(SynchronousTestCase):
    """A test for each row.

    :cvar loaded: the names of those that are to be run.
    """

    longest = _LONGEST + 60.0
    loaded: ClassVar[set[str]] = set()

    def __init__(self, methodName: str = "runTest") -> None:
        super().__init__(methodName)
        self.loaded.add(methodName)

    def row(self, name: str) -> None:
        """It was run, and nothing was wrong."""
        report = short_run(tuple(rows_of(self.loaded)))
        if report["unavailable"]:
            raise SkipTest(report["unavailable"])
        self.assertIn(name, report["rows"], f"it was not run: {report.get('status')}")
        self.assertEqual(report["rows"][name], [])


def _test_of(name: str) -> Callable[[FaultsTests], None]:
    def test(self: FaultsTests) -> None:
        self.row(name)

    test.__doc__ = f"{name}: every chain is right."
    return test


for _fault in FAULTS:
    setattr(FaultsTests, test_name(_fault.name), _test_of(_fault.name))
