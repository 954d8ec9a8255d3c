"""The calls that ``lab.record`` records: the outbound table, and what the daemon prevents.

Knows what is to be told of each, on Asterisk 22 and on Asterisk 16 with chan_sip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tests.integration.rows import OPERATOR_RUNG, ROWS, TRUNKS, Row

#: An operator whom no phone has ever registered, by the end of their number.
_ABSENT = "90"
OFFLINE: Final = ("CALL", "OPERATOR_OFFLINE")


#: The cause of a phone's decline, which a refusal of the way (401, 403, 407) shares.
_REJECTED = 21
#: The cause of SIP 480 and, on 22, of a phone whose time was over.
_NO_ANSWER = 19


@dataclass(frozen=True)
class Recorded:
    """A row, and by which of the lab's trunks its client is dialled."""

    row: Row
    trunk: str = "trunk"


RECORDED: Final = {
    "operator_is_not_registered": Recorded(Row(_ABSENT, "00", (OFFLINE,), ())),
    **{name: Recorded(row) for name, row in ROWS.items()},
    **{name: Recorded(row, trunk) for trunk, rows in TRUNKS.items() for name, row in rows.items()},
}


def _on_16(row: Row) -> Row:
    """The row without what an operator's phone answered: of that there is the cause alone.

    A forward and a time that was over have no cause of their own; and chan_sip does not tell a
    phone that says 480 from one that Asterisk gave up.
    """
    if row.chains[0][:-1] != OPERATOR_RUNG:
        return row
    [(*before, last)] = row.chains
    cause, detail = row.ends[-1]
    if row.rings_out:
        return replace(row, ends=((None, "no answer in time"),))
    return replace(
        row,
        chains=((*before, "OPERATOR_BUSY" if cause == _REJECTED else last),),
        by=("asterisk",) if cause == _NO_ANSWER else row.by,
        ends=((cause, detail.partition(", SIP")[0]),),
    )


ROWS_ON_16: Final = {name: _on_16(row) for name, row in ROWS.items()}
