"""The cheap strong check: every chain is derived a second time, from Asterisk's own log alone."""

from __future__ import annotations

from tests.integration.harness import LiveTestCase
from tests.integration.read_again import told_otherwise
from tests.integration.rounds import call_rounds
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT, ROWS


class CELTests(LiveTestCase):
    """All rows of the outbound table at once, on Asterisk 22."""

    tables = {"asterisk": {"operator_timeout": OPERATOR_TIMEOUT, "client_timeout": CLIENT_TIMEOUT}}

    async def test_tells_every_chain_again(self) -> None:
        """What callHistory has of every call, AMI having told it, the CEL file tells as well."""
        told = await call_rounds(self, ROWS, 1, 1)
        calls = [call for calls in told.values() for call in calls]
        self.assertEqual(len(calls), len(ROWS))
        self.assertEqual(await told_otherwise(self, calls), [])
