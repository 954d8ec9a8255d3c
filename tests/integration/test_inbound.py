"""The inbound table: each of its rows on real phones, and what else a client may meet.

The rows' calls come in all at once before the first test; each test then judges those of its row.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from lab.processes import free_port
from tests.depth import rounds
from tests.integration.harness import LiveTestCase, on_16
from tests.integration.inbound_rounds import Taken, call_in
from tests.integration.inbound_rows import ROWS, ROWS_ON_16, Row
from tests.integration.inbound_verdict import complaints
from tests.integration.read_again import taken_otherwise
from tests.integration.routing_crm import RoutingCrm
from tests.integration.verdict import FORWARD_TARGET

CRM_PORT = free_port(socket.SOCK_STREAM)
ASKS_CRM = {"routing": {"url": f"http://127.0.0.1:{CRM_PORT}/route", "timeout": 1.5}}


class InboundRowsTestCase(LiveTestCase):
    """A test for each row of ``rows``, each called in ``rounds`` times."""

    rows: ClassVar[Mapping[str, Row]] = {}
    rounds: ClassVar[int] = rounds(2)
    tables: ClassVar[Mapping[str, Any]] = ASKS_CRM
    timeout = 300
    lasts = 1.0

    _taken: ClassVar[dict[type, dict[str, list[Taken]] | BaseException]] = {}

    def __init_subclass__(cls) -> None:
        """Give each row a test of its name."""
        for name, row in cls.rows.items():
            setattr(cls, f"test_{name}", _test_of(name, row))

    async def taken(self) -> dict[str, list[Taken]]:
        """All calls by row; made once, whatever comes of it."""
        if type(self) not in self._taken:
            crm = RoutingCrm(CRM_PORT)
            try:
                self._taken[type(self)] = await call_in(self, crm, self.rows, self.rounds)
            except Exception as error:
                self._taken[type(self)] = error
            finally:
                await crm.stop()
        taken = self._taken[type(self)]
        if isinstance(taken, BaseException):
            raise taken
        return taken


def _test_of(name: str, row: Row) -> Callable[[InboundRowsTestCase], Awaitable[None]]:
    async def test(self: InboundRowsTestCase) -> None:
        calls = (await self.taken())[name]
        self.assertEqual(len(calls), self.rounds)
        self.assertEqual(
            [f"call {call.call_id}: {said}" for call in calls for said in complaints(call)], []
        )

    test.__doc__ = f"The CRM names {row.rounds}: {row.tells}."
    test.__name__ = f"test_{name}"
    return test


@on_16(rows=ROWS_ON_16)
class InboundTests(InboundRowsTestCase):
    """Every row at once; twice, at night."""

    rows = ROWS

    async def test_call_forwards_are_not_followed(self) -> None:
        """Nobody is called at the number that a phone forwards to."""
        await self.taken()
        for phones in (self.lab.operators, self.lab.clients):
            self.assertEqual(phones.invites(FORWARD_TARGET), 0)

    async def test_the_log_of_channel_events_tells_the_same(self) -> None:
        """Every chain comes out the same when it is derived from the CEL file alone."""
        calls = [call for calls in (await self.taken()).values() for call in calls]
        self.assertEqual(await taken_otherwise(self, calls), [])
