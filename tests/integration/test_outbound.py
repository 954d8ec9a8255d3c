"""The outbound table: each of its rows, by every SIP answer that causes it; at night ten times.

The rows' calls are made all at once before the first test; each test then judges the calls of its
row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from ccdaemon.calls import signals
from ccdaemon.pbx import cel_signals
from tests.depth import rounds
from tests.integration.harness import LiveTestCase, on_16
from tests.integration.read_again import told_otherwise
from tests.integration.rounds import Told, call_rounds
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT, ROWS, TRUNKS, Row
from tests.integration.verdict import FORWARD_TARGET, complaints
from tests.trace_rows import ROWS_ON_16

LIMITS = {"operator_timeout": OPERATOR_TIMEOUT, "client_timeout": CLIENT_TIMEOUT}


class RowsTestCase(LiveTestCase):
    """A test for each row of ``rows``, on ``copies`` calls at once, that ``rounds`` times."""

    rows: ClassVar[Mapping[str, Row]] = {}
    rounds: ClassVar[int] = rounds(10)
    copies: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, Any]] = {"asterisk": LIMITS}
    timeout = 300
    lasts = 0.5

    _told: ClassVar[dict[type, dict[str, list[Told]] | BaseException]] = {}

    def __init_subclass__(cls) -> None:
        """Give each row a test of its name."""
        for name, row in cls.rows.items():
            setattr(cls, f"test_{name}", _test_of(name, row))

    async def told(self) -> dict[str, list[Told]]:
        """All calls by row; made once, whatever comes of it."""
        if type(self) not in self._told:
            try:
                made = await call_rounds(self, self.rows, self.rounds, self.copies)
                self._told[type(self)] = made
            except Exception as error:
                self._told[type(self)] = error
        told = self._told[type(self)]
        if isinstance(told, BaseException):
            raise told
        return told


def _test_of(name: str, row: Row) -> Callable[[RowsTestCase], Awaitable[None]]:
    async def test(self: RowsTestCase) -> None:
        calls = (await self.told())[name]
        self.assertEqual(len(calls), self.rounds * self.copies)
        self.assertEqual(
            [f"call {call.call_id}: {said}" for call in calls for said in complaints(call)], []
        )

    chains = " or ".join(", ".join(chain) for chain in row.chains)
    test.__doc__ = f"Operator {row.operator}, client {row.client}: {chains}."
    test.__name__ = f"test_{name}"
    return test


@on_16(rows=ROWS_ON_16)
class OutboundTests(RowsTestCase):
    """Every row at once; ten times, at night."""

    rows = ROWS

    async def test_call_forwards_are_not_followed(self) -> None:
        """Nobody is called at the number that a phone forwards to."""
        await self.told()
        for phones in (self.lab.operators, self.lab.clients):
            self.assertEqual(phones.invites(FORWARD_TARGET), 0)

    async def test_the_log_says_what_each_was_made_for(self) -> None:
        """Every call for which a phone rang has its phone and order in the log, by its number."""
        told = [call for calls in (await self.told()).values() for call in calls]
        lines = self.lab.asterisk.cel_file_on_host.read_text("utf-8").splitlines()
        labelled = {
            (signal.channel.rpartition("-o")[0].rpartition("-")[2], signal.phone, signal.order_id)
            for signal in cel_signals.from_rows(lines)
            if isinstance(signal, signals.Tagged)
        }
        rung = [call for call in told if call.operator]
        self.assertTrue(rung)
        made = {(str(call.call_id), call.phone, call.order_id) for call in rung}
        self.assertEqual(set(), made - labelled)

    async def test_the_log_of_channel_events_tells_the_same(self) -> None:
        """Every chain comes out the same when it is derived from the CEL file alone."""
        told = await self.told()
        calls = [call for calls in told.values() for call in calls]
        self.assertEqual(await told_otherwise(self, calls), [])


def _through(trunk: str) -> dict[str, Any]:
    return {"asterisk": {**LIMITS, "client_channel": f"PJSIP/{{phone}}@{trunk}"}}


class TrunkWithoutAddressTests(RowsTestCase):
    """Asterisk knows no address for the trunk, so that no phone can be asked."""

    rows = TRUNKS["trunk-down"]
    rounds, copies = 1, rounds(20)
    tables = _through("trunk-down")


class DeadTrunkTests(RowsTestCase):
    """Nobody listens at the trunk's address."""

    rows = TRUNKS["trunk-dead"]
    rounds, copies = 1, rounds(20)
    tables = _through("trunk-dead")


class TrunkThatRefusesUsTests(RowsTestCase):
    """The trunk asks for a password and does not take ours."""

    rows = TRUNKS["trunk-auth"]
    rounds, copies = 1, rounds(10)
    tables = _through("trunk-auth")
