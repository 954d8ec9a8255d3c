"""The inbound table: each of its rows on real phones; at night twice."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from lab.processes import free_port
from tests import depth
from tests.integration.harness import on_16
from tests.integration.inbound_rounds import Taken, call_in
from tests.integration.inbound_rows import ROWS, ROWS_ON_16
from tests.integration.inbound_verdict import complaints
from tests.integration.read_again import taken_otherwise
from tests.integration.routing_crm import RoutingCrm
from tests.integration.table_case import WholeTableCase

CRM_PORT = free_port(socket.SOCK_STREAM)
ASKS_CRM = {"routing": {"url": f"http://127.0.0.1:{CRM_PORT}/route", "timeout": 1.5}}


@on_16(rows=ROWS_ON_16, rounds=1)
class InboundTests(WholeTableCase):
    """Every row at once."""

    rows = ROWS
    rounds = depth.rounds(2)
    tables = ASKS_CRM

    async def make_calls(self) -> dict[str, list[Taken]]:
        """By clients who call, of whom the CRM says who takes them."""
        crm = RoutingCrm(CRM_PORT)
        try:
            return await call_in(self, crm, self.rows, self.rounds)
        finally:
            await crm.stop()

    def complaints(self, call: Taken) -> Iterable[str]:
        """What is wrong with a call."""
        return complaints(call)

    async def told_otherwise(self, calls: Sequence[Taken]) -> list[str]:
        """What the log of channel events tells otherwise."""
        return await taken_otherwise(self, calls)


del WholeTableCase
