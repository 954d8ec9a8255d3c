"""The inbound table as data: what the phones do, and what is to be told of it.

Knows neither how the calls are made nor what is done with what was told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

#: Seconds for which each round rings, as the CRM says.
RING_TIMEOUT = 3

#: An operator whose phone answers and talks, and one whom no phone has registered.
ANSWERS, ABSENT = "00", "90"


@dataclass(frozen=True)
class Row:
    """What is done, and what is to be told.

    ``rounds``: whom the CRM names, by the ends of their numbers; those of a round ring together.
    ``tells``: the chain in words; ``STATE(2)`` speaks of the second operator. ``by``: who may have
    hung up. ``loose``: of several phones that ring at once nobody knows which is told first.
    ``talk``: the client hangs up so long after the answer. ``cancel_after``: they give up so long
    after the last sign of ringing. ``advice``: what else the CRM says; ``slow``: how long it takes
    to. ``hears``: the SIP answer that ends the client's call. ``rings_out``: how many seconds it
    rang in all. ``ends``: one of it is in the last state's detail. ``recorded``: a talk is.
    """

    rounds: tuple[tuple[str, ...], ...]
    tells: str
    by: tuple[str | None, ...]
    talk: float = 30.0
    cancel_after: float | None = None
    loose: bool = False
    advice: tuple[tuple[str, Any], ...] = ()
    slow: float = 0.0
    hears: int | None = None
    rings_out: float | None = None
    ends: tuple[str, ...] = ()
    recorded: bool = True

    @property
    def chain(self) -> list[tuple[str, int | None]]:
        """The states, each with the operator it speaks of, counted from 1."""
        return [
            (state, int(number) if number else None)
            for state, number in re.findall(r"([A-Z_]+)(?:\((\d+)\))?", self.tells)
        ]

    @property
    def words(self) -> str:
        """What is done and told, in a line."""
        return f"The CRM names {self.rounds}: {self.tells}"

    @property
    def talks(self) -> bool:
        """Whether somebody takes the call."""
        return "OPERATOR_PICKUP" in self.tells


_TALK = "CALL, OPERATOR_CALLTO(1), OPERATOR_PICKUP(1), FINISH(1)"
_NOANSWER = "CALL, OPERATOR_CALLTO(1), OPERATOR_NOANSWER(1)"
_BUSY = "CALL, OPERATOR_CALLTO(1), OPERATOR_BUSY(1)"
_OFFLINE = "CALL, OPERATOR_OFFLINE(1)"
_CANCEL = "CALL, OPERATOR_CALLTO(1), CLIENT_CANCEL"
_SECOND = "OPERATOR_CALLTO(2), OPERATOR_PICKUP(2), FINISH(2)"


def _alone(ending: str, tells: str, by: str | None, hears: int, **more: Any) -> Row:
    return Row(((ending,),), tells, (by,), hears=hears, **more)


_RINGS_OUT = {"rings_for_ever": "06", "says_183_for_ever": "38", "never_says_a_word": "19"}
_BUSY_WAYS = {
    "busy_486": ("05", 486),
    "busy_everywhere_600": ("08", 486),
    "declines_603": ("07", 480),
    "busy_486_after_ringing": ("22", 486),
    "declines_603_after_ringing": ("23", 480),
}
_ABSENT_WAYS = {"absent_480": "09", "absent_408": "10", "absent_480_after_ringing": "25"}
_FAILED = {"not_found_404": "11", "unavailable_503": "13", "not_acceptable_488": "15"}

ROWS: dict[str, Row] = {
    # They talk, then either hangs up.
    "talk_client_hangs_up": Row(((ANSWERS,),), _TALK, ("client",), talk=1.5),
    "talk_operator_hangs_up": Row((("01",),), _TALK, ("operator",)),
    "talk_operator_hangs_up_at_once": Row((("17",),), _TALK, ("operator",)),
    "talk_longer_than_the_dialplan_waits_for_us": Row(((ANSWERS,),), _TALK, ("client",), talk=4.0),
    "talk_after_operator_said_183": Row((("21",), ("09",)), _TALK, ("client",), talk=1.0),
    # Nobody else is left.
    **{
        f"operator_{what}": _alone(end, _NOANSWER, "asterisk", 480, rings_out=float(RING_TIMEOUT))
        for what, end in _RINGS_OUT.items()
    },
    **{
        f"operator_{what}": _alone(end, _NOANSWER, "operator", 480)
        for what, end in _ABSENT_WAYS.items()
    },
    **{
        f"operator_{what}": _alone(end, _BUSY, "operator", hears)
        for what, (end, hears) in _BUSY_WAYS.items()
    },
    "operator_is_offline": _alone(ABSENT, _OFFLINE, None, 503),
    # The next one is tried.
    "second_answers_after_first_rings_out": Row(
        (("06",), (ANSWERS,)), f"{_NOANSWER}, {_SECOND}", ("client",), talk=1.0
    ),
    "second_answers_after_first_is_busy": Row(
        (("05",), (ANSWERS,)), f"{_BUSY}, {_SECOND}", ("client",), talk=1.0
    ),
    "second_answers_after_first_is_offline": Row(
        ((ABSENT,), (ANSWERS,)), f"{_OFFLINE}, {_SECOND}", ("client",), talk=1.0
    ),
    "second_answers_after_first_fails_503": Row(
        (("13",), (ANSWERS,)), f"{_NOANSWER}, {_SECOND}", ("client",), talk=1.0
    ),
    "nobody_of_two_answers": Row(
        (("06",), ("08",)),
        f"{_NOANSWER}, OPERATOR_CALLTO(2), OPERATOR_BUSY(2)",
        ("operator",),
        hears=486,
    ),
    # The client gives up.
    "client_gives_up_while_it_rings": Row(
        (("24",),), _CANCEL, ("client",), cancel_after=1.5, hears=487
    ),
    "client_gives_up_before_anyone_is_asked": Row(
        ((ANSWERS,),), "CALL, CLIENT_CANCEL", ("client",), cancel_after=0.3, slow=1.2, hears=487
    ),
    "client_gives_up_in_the_second_round": Row(
        (("22",), ("24",)),
        f"{_BUSY}, OPERATOR_CALLTO(2), CLIENT_CANCEL",
        ("client",),
        cancel_after=2.6,
        hears=487,
    ),
    "client_gives_up_while_several_ring": Row(
        (("24", "20"),),
        "CALL, OPERATOR_CALLTO(1), OPERATOR_CALLTO(2), CLIENT_CANCEL",
        ("client",),
        cancel_after=1.5,
        loose=True,
        hears=487,
    ),
    # Several ring together.
    "several_ring_one_answers": Row(
        (("38", ANSWERS, "20"),),
        "CALL, OPERATOR_CALLTO(1), OPERATOR_CALLTO(2), OPERATOR_CALLTO(3), OPERATOR_PICKUP(2),"
        " FINISH(2)",
        ("client",),
        talk=1.0,
        loose=True,
    ),
    "several_ring_one_is_busy_one_answers": Row(
        (("05", ANSWERS),),
        "CALL, OPERATOR_CALLTO(1), OPERATOR_CALLTO(2), OPERATOR_BUSY(1), OPERATOR_PICKUP(2),"
        " FINISH(2)",
        ("client",),
        talk=1.0,
        loose=True,
    ),
    "several_ring_out_the_next_answers": Row(
        (("20", "38"), (ANSWERS,)),
        "CALL, OPERATOR_CALLTO(1), OPERATOR_CALLTO(2), OPERATOR_NOANSWER(1), OPERATOR_NOANSWER(2),"
        " OPERATOR_CALLTO(3), OPERATOR_PICKUP(3), FINISH(3)",
        ("client",),
        talk=1.0,
        loose=True,
    ),
    # A call forward is not followed, a phone that fails is no person.
    "operator_forwards_302": replace(
        _alone("14", "CALL, OPERATOR_CALLTO(1), ERROR", "operator", 486),
        # Whether the end of their channel or the dialplan tells of it first is a matter of luck.
        by=("operator", "asterisk"),
        ends=("Redirected to new destination", "a call forward"),
    ),
    **{
        f"operator_{what}": _alone(end, "CALL, OPERATOR_CALLTO(1), ERROR", "operator", 480)
        for what, end in _FAILED.items()
    },
    # The CRM has it done otherwise.
    "crm_rejects": Row(
        (),
        "CALL, ERROR",
        (None,),
        advice=(("reject", "owes us money"),),
        hears=403,
        ends=("rejected: ", "owes us money"),
    ),
    "crm_redirects": Row(
        (),
        "CALL, OPERATOR_CALLTO, OPERATOR_PICKUP, FINISH",
        ("client",),
        advice=(("redirect", "1157"),),
        recorded=False,
        talk=1.0,
    ),
}


def _on_16(name: str, row: Row) -> Row:
    """chan_sip takes a 480 for Dial's own doing, and lets the client hear of either as busy."""
    if "480" in name:
        return replace(row, by=("asterisk",), hears=486)
    return replace(row, hears=486) if "603" in name else row


ROWS_ON_16 = {name: _on_16(name, row) for name, row in ROWS.items()}
