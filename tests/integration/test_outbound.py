"""The outbound table: each of its rows, by every SIP answer that causes it; at night ten times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ccdaemon.calls import signals
from ccdaemon.pbx import cel_signals
from tests import depth
from tests.integration.harness import on_16
from tests.integration.read_again import told_otherwise
from tests.integration.rounds import Told, call_rounds
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT, ROWS, TRUNKS
from tests.integration.table_case import TableCase, WholeTableCase
from tests.integration.verdict import complaints
from tests.trace_rows import ROWS_ON_16

LIMITS = {"operator_timeout": OPERATOR_TIMEOUT, "client_timeout": CLIENT_TIMEOUT}


class OutboundCase(TableCase):
    """Calls that the CRM asks for."""

    tables = {"asterisk": LIMITS}

    async def make_calls(self) -> dict[str, list[Told]]:
        """By makeCall."""
        return await call_rounds(self, self.rows, self.rounds, self.copies)

    def complaints(self, call: Told) -> Iterable[str]:
        """What is wrong with a call."""
        return complaints(call)


@on_16(rows=ROWS_ON_16, rounds=1)
class OutboundTests(OutboundCase, WholeTableCase):
    """Every row at once; ten times, at night."""

    rows = ROWS
    rounds = depth.rounds(10)

    async def told_otherwise(self, calls: Sequence[Told]) -> list[str]:
        """What the log of channel events tells otherwise."""
        return await told_otherwise(self, calls)

    async def test_the_log_says_what_each_was_made_for(self) -> None:
        """Every call for which a phone rang has its phone and order in the log, by its number."""
        rung = [call for call in await self.each_call() if call.operator]
        lines = self.lab.asterisk.cel_file_on_host.read_text("utf-8").splitlines()
        labelled = {
            (signal.channel.rpartition("-o")[0].rpartition("-")[2], signal.phone, signal.order_id)
            for signal in cel_signals.from_rows(lines)
            if isinstance(signal, signals.Tagged)
        }
        self.assertTrue(rung)
        made = {(str(call.call_id), call.phone, call.order_id) for call in rung}
        self.assertEqual(set(), made - labelled)


def _through(trunk: str) -> dict[str, Any]:
    return {"asterisk": {**LIMITS, "client_channel": f"PJSIP/{{phone}}@{trunk}"}}


class TrunkWithoutAddressTests(OutboundCase):
    """Asterisk knows no address for the trunk, so that no phone can be asked."""

    rows = TRUNKS["trunk-down"]
    copies = depth.rounds(20)
    tables = _through("trunk-down")


class DeadTrunkTests(OutboundCase):
    """Nobody listens at the trunk's address."""

    rows = TRUNKS["trunk-dead"]
    copies = depth.rounds(20)
    tables = _through("trunk-dead")


class TrunkThatRefusesUsTests(OutboundCase):
    """The trunk asks for a password and does not take ours."""

    rows = TRUNKS["trunk-auth"]
    copies = depth.rounds(10)
    tables = _through("trunk-auth")


del OutboundCase, TableCase, WholeTableCase
