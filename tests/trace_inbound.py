"""The inbound calls that ``lab.record_inbound`` records, and what their traces have to tell.

Nobody is passed over and nobody refused in a trace: that the daemon alone knows.
"""

from __future__ import annotations

from typing import Final

from tests.integration.inbound_rows import ABSENT, ANSWERS, ROWS, ROWS_ON_16, Row

#: Who calls, and what they dial.
CALLER: Final = "380631234567"
DID: Final = "380441234567"
#: By the folders of the two Asterisks.
RECORDED: Final = {"22-pjsip": ROWS, "16-chan_sip": ROWS_ON_16}

Told = list[tuple[str, str | None]]


def sips(row: Row) -> list[list[str]]:
    """The row's rounds, by number; the second operator who answers is another one."""
    talkers = (f"10{number}" for number in range(40, 55))
    return [
        [next(talkers) if ending == ANSWERS else f"10{ending}" for ending in each]
        for each in row.rounds
    ]


def tells(row: Row) -> Told:
    """The states that its trace tells, each with the operator's number where the row says it."""
    numbers = [sip for each in sips(row) for sip in each]
    chain = [(state, numbers[number - 1] if number else None) for state, number in row.chain]
    told = [(state, sip) for state, sip in chain if sip != f"10{ABSENT}"]
    if {state for state, _ in told} <= {"CALL", "ERROR"}:
        return [("CALL", None), ("OPERATOR_OFFLINE", None)]
    return told
