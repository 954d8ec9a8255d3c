"""The rows of the table, one module for each part that fails."""

from __future__ import annotations

from tests.faults.rows import (
    ami,
    asterisk,
    clock,
    crm,
    daemon,
    flood,
    http,
    journal,
    postgres,
    second,
    webhooks,
)
from tests.faults.stage import Fault

#: All of them, in the order of the table.
FAULTS: tuple[Fault, ...] = (
    *daemon.FAULTS,
    *second.FAULTS,
    *ami.FAULTS,
    *flood.FAULTS,
    *asterisk.FAULTS,
    *postgres.FAULTS,
    *journal.FAULTS,
    *clock.FAULTS,
    *crm.FAULTS,
    *webhooks.FAULTS,
    *http.FAULTS,
)
