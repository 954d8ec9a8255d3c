"""Tests of how the rows of faults become tests."""

from __future__ import annotations

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.faults.rows import FAULTS
from tests.integration import test_faults


class RowsTests(SynchronousTestCase):
    """Each row of the table is a test."""

    def test_the_whole_table(self) -> None:
        """Every row has one, by its own name."""
        loaded = TestLoader().loadByName("tests.integration.test_faults")
        self.assertEqual(loaded.countTestCases(), len(FAULTS))
        for fault in FAULTS:
            name = test_faults.test_name(fault.name)
            self.assertTrue(hasattr(test_faults.FaultsTests, name), name)
