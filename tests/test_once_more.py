"""Tests of what is run once more: of rows of faults, those whose tests failed and no others."""

from __future__ import annotations

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.faults.rows import FAULTS
from tests.live import test_faults


class RowsTests(SynchronousTestCase):
    """The rows that one run of the program is to inject."""

    def setUp(self) -> None:
        """Let no test have been loaded; what this run has loaded is put back afterwards."""
        self.patch(test_faults.FaultsTests, "loaded", set())

    def rows(self, *names: str) -> list[str]:
        """The rows of tests that are named to trial."""
        here = "tests.live.test_faults"
        TestLoader().loadByNames([f"{here}{name}" for name in names])
        return test_faults.rows_of(test_faults.FaultsTests.loaded)

    def test_by_name(self) -> None:
        """Two tests that are asked for by name are two rows, in the order of the table."""
        asked = (".FaultsTests.test_postgres__disk_full", ".FaultsTests.test_ami_cut")
        self.assertEqual(self.rows(*asked), ["AMI cut", "Postgres' disk full"])

    def test_the_whole_table(self) -> None:
        """The module is every row, each with a test of its own."""
        self.assertEqual(self.rows(""), [fault.name for fault in FAULTS])
        self.assertEqual(len(test_faults.FaultsTests.loaded), len(FAULTS))
