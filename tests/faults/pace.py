"""How fast a run goes, and which calls are long enough or short enough for it."""

from __future__ import annotations

from dataclasses import dataclass

from lab.behaviours import PLAN
from tests.integration import inbound_rows, rows
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT


@dataclass(frozen=True)
class Pace:
    """``rate``: calls begun a second; ``haste``: pauses are this part of their length; ``talk``:
    seconds that a talk lasts at most; ``slack``: seconds that an operator is left alone after a
    call's usual length, longer than a fault may keep the daemon from learning that it is over;
    ``full``: where a number of calls is kept up, this part of it.
    """

    rate: float
    haste: float
    talk: float
    slack: float
    full: float


WHOLE = Pace(rate=4.0, haste=1.0, talk=10.0, slack=18.0, full=1.0)
#: Of several short runs side by side on two cores none may be late for its own sake.
SHORT = Pace(rate=2.0, haste=0.4, talk=5.0, slack=18.0, full=0.5)


def length(row: rows.Row | inbound_rows.Row, talk: float) -> float:
    """Seconds that a call of this row takes, about, if it may talk for ``talk``."""
    if isinstance(row, inbound_rows.Row):
        rung = inbound_rows.RING_TIMEOUT * (len(row.rounds) - 1) + (row.cancel_after or 0.5)
        return rung + (min(row.talk, talk) if row.talks else 0.0)
    operator, client = PLAN[row.operator], PLAN[row.client]
    before = min(operator.ring, OPERATOR_TIMEOUT)
    if operator.refuse is not None or operator.ring > OPERATOR_TIMEOUT:
        return before
    rung = min(client.ring, CLIENT_TIMEOUT, operator.talk)
    if client.refuse is not None or client.ring > CLIENT_TIMEOUT:
        return before + rung
    return before + rung + min(operator.talk, client.talk)
