"""The outbound table as data: what the two phones do, and what is to be told of it.

Each row of the wire contract is here with every SIP answer that causes it. Knows neither how the
calls are made nor what is done with what was told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Chain = tuple[str, ...]

OPERATOR_RUNG: Chain = ("CALL", "OPERATOR_CALLTO")
OPERATOR_THERE: Chain = (*OPERATOR_RUNG, "OPERATOR_PICKUP")
CLIENT_RUNG: Chain = (*OPERATOR_THERE, "CLIENT_CALLTO")
TALKED: Chain = (*CLIENT_RUNG, "CLIENT_PICKUP", "FINISH")
#: The operator is gone before the dialplan asks for the client.
LEFT_BEFORE: Chain = (*OPERATOR_THERE, "OPERATOR_BUSY")
LEFT_WHILE_RINGING: Chain = (*CLIENT_RUNG, "OPERATOR_BUSY")

#: An operator whose phone answers and talks: one of many that do as 00.
ANSWERS = "00"

#: The daemon's limits in these calls, in seconds.
OPERATOR_TIMEOUT, CLIENT_TIMEOUT = 5, 4


@dataclass(frozen=True)
class Row:
    """What the phones do, by the ends of their numbers, and what is to be told.

    ``chains``: the chain, or the chains where two things happen at the same moment and either may
    be the first. ``by``: the possible values of ``hung_up_by``. ``ends``: the possible causes,
    each with how ``detail`` begins; FINISH says more. ``rings_out``: whose phone is given up when
    its time is over. ``reaches_client``: whether the client's phone hears of it; None: it may.
    ``silent``: whose phone sends no sound in the talk.
    """

    operator: str
    client: str
    chains: tuple[Chain, ...]
    by: tuple[str, ...]
    ends: tuple[tuple[int | None, str], ...] = ()
    rings_out: str | None = None
    reaches_client: bool | None = True
    silent: str | None = None

    @property
    def words(self) -> str:
        """What is done and told, in a line."""
        chains = " or ".join(", ".join(chain) for chain in self.chains)
        return f"Operator {self.operator}, client {self.client}: {chains}"


#: SIP answer → cause and its words, as Asterisk has them.
_CAUSES = {
    401: (21, "Call rejected"),
    403: (21, "Call rejected"),
    404: (1, "Unallocated (unassigned) number"),
    407: (21, "Call rejected"),
    408: (18, "No user responding"),
    410: (22, "Number changed"),
    480: (19, "User alerting, no answer"),
    484: (28, "Invalid number format"),
    486: (17, "User busy"),
    488: (58, "Bearer capability not available"),
    500: (38, "Network out of order"),
    501: (29, "Facility rejected"),
    502: (27, "Destination out of order"),
    503: (34, "Circuit/channel congestion"),
    504: (102, "Recovery on timer expire"),
    600: (17, "User busy"),
    603: (21, "Call rejected"),
    604: (1, "Unallocated (unassigned) number"),
    606: (58, "Bearer capability not available"),
}

#: How a phone refuses → the end of its number and the SIP answer.
_BUSY = {
    "busy_486": ("05", 486),
    "busy_everywhere_600": ("08", 600),
    "declines_603": ("07", 603),
    "busy_486_after_ringing": ("22", 486),
    "declines_603_after_ringing": ("23", 603),
}
_ABSENT = {
    "absent_480": ("09", 480),
    "absent_480_after_ringing": ("25", 480),
    "absent_408": ("10", 408),
}
_FAILED = {
    "not_found_404": ("11", 404),
    "forbidden_403": ("12", 403),
    "unavailable_503": ("13", 503),
    "not_acceptable_488": ("15", 488),
    "unauthorized_401": ("16", 401),
    "proxy_unauthorized_407": ("26", 407),
    "incomplete_484": ("27", 484),
    "server_error_500": ("28", 500),
    "not_implemented_501": ("39", 501),
    "bad_gateway_502": ("29", 502),
    "gateway_timeout_504": ("32", 504),
    "exists_nowhere_604": ("30", 604),
    "not_acceptable_606": ("33", 606),
    "gone_410": ("31", 410),
}
#: How a phone lets its time run out.
_RINGS_OUT = {
    "rings_for_ever": "06",
    "says_183_for_ever": "38",
    "says_100_and_no_more": "20",
}
_GIVEN_UP = {
    "operator": (19, "User alerting, no answer (19)"),
    "client": (None, "no answer in time"),
}
_SILENT = "no SIP answer at all"
_NOT_FOLLOWED = "a call forward of the phone is not followed"


def _row(leg: str, ending: str, verdict: str, by: str, *ends: tuple[int | None, str]) -> Row:
    """One phone does as the ending says, and the call gets no further."""
    if leg == "operator":
        chain = (*OPERATOR_RUNG, verdict)
        return Row(ending, "00", (chain,), (by,), ends, reaches_client=False)
    return Row(ANSWERS, ending, ((*CLIENT_RUNG, verdict),), (by,), ends)


def _refusals(leg: str) -> dict[str, Row]:
    busy, noanswer = f"{leg.upper()}_BUSY", f"{leg.upper()}_NOANSWER"
    rows = {}
    for answers, verdict in ((_BUSY, busy), (_ABSENT, noanswer), (_FAILED, "ERROR")):
        for what, (ending, code) in answers.items():
            cause, words = _CAUSES[code]
            end = (cause, f"{words} ({cause}), SIP {code}")
            rows[f"{leg}_{what}"] = _row(leg, ending, verdict, leg, end)
    for what, ending in _RINGS_OUT.items():
        row = _row(leg, ending, noanswer, "asterisk", _GIVEN_UP[leg])
        rows[f"{leg}_{what}"] = replace(row, rings_out=leg)
    return rows


def _talk(operator: str, client: str, by: str, silent: str | None = None) -> Row:
    return Row(operator, client, (TALKED,), (by,), silent=silent)


def _left(operator: str, client: str, *others: Chain) -> Row:
    by = ("operator", "client") if TALKED in others else ("operator",)
    reached = None if LEFT_BEFORE in others else True
    ends = ((None, "the operator hung up"),)
    chains = (LEFT_WHILE_RINGING, *others)
    return Row(operator, client, chains, by, ends, reaches_client=reached)


ROWS: dict[str, Row] = {
    # Both talk, then either hangs up.
    "talk_client_hangs_up": _talk(ANSWERS, "01", "client"),
    "talk_operator_hangs_up": _talk("01", "00", "operator"),
    "talk_client_hangs_up_at_once": _talk(ANSWERS, "17", "client"),
    "talk_client_hangs_up_soon": _talk(ANSWERS, "18", "client"),
    "talk_operator_hangs_up_soon": _talk("34", "00", "operator"),
    "talk_after_client_rang_long": _talk("03", "02", "operator"),
    "talk_after_client_said_183": _talk("03", "21", "operator"),
    "talk_after_operator_rang_long": _talk("02", "34", "client"),
    "talk_after_operator_said_183": _talk("21", "34", "client"),
    "talk_without_a_sound": _talk("36", "34", "client", silent="operator"),
    "talk_client_vanishes": _talk("03", "37", "operator", silent="client"),
    "talk_operator_vanishes": _talk("37", "01", "client", silent="operator"),
    # The operator hangs up while the client still rings, or before.
    "operator_leaves_at_once": _left("17", "06", LEFT_BEFORE),
    "operator_leaves_soon": _left("18", "06"),
    "operator_leaves_while_client_rings": _left("34", "06"),
    "operator_leaves_while_client_says_100": _left("34", "20"),
    "operator_leaves_while_client_says_183": _left("18", "38"),
    "operator_leaves_while_client_is_deaf": _left("01", "19"),
    "operator_leaves_as_client_answers": _left("18", "00", TALKED),
    "operator_leaves_as_client_answers_after_183": _left("01", "21", TALKED),
    "both_leave_at_once": _left("17", "17", LEFT_BEFORE, TALKED),
    # A call forward is not followed.
    "operator_forwards_302": _row(
        "operator",
        "14",
        "ERROR",
        "operator",
        (23, "Redirected to new destination (23), SIP 302"),
        (None, _NOT_FOLLOWED),
    ),
    "client_forwards_302": _row("client", "14", "ERROR", "client", (None, _NOT_FOLLOWED)),
    # Not one SIP answer: a phone that is registered and gone, a trunk that is down.
    "operator_never_says_a_word": replace(
        _row("operator", "19", "OPERATOR_NOANSWER", "asterisk", _GIVEN_UP["operator"]),
        rings_out="operator",
    ),
    "client_never_says_a_word": replace(
        _row("client", "19", "ERROR", "asterisk", (None, _SILENT)), rings_out="client"
    ),
    **_refusals("operator"),
    **_refusals("client"),
}

#: Rows of trunks, by the names that the lab's Asterisk has for them.
TRUNKS: dict[str, dict[str, Row]] = {
    # Nobody has registered for its address.
    "trunk-down": {
        "trunk_without_an_address": Row(
            ANSWERS,
            "00",
            ((*CLIENT_RUNG, "ERROR"),),
            ("asterisk",),
            ((3, "No route to destination (3)"),),
            reaches_client=False,
        ),
    },
    # At its address nobody listens.
    "trunk-dead": {
        "trunk_where_nobody_listens": Row(
            ANSWERS,
            "00",
            ((*CLIENT_RUNG, "ERROR"),),
            ("asterisk",),
            ((None, _SILENT),),
            rings_out="client",
            reaches_client=False,
        ),
    },
    # It takes no password of ours.
    "trunk-auth": {
        "trunk_refuses_the_password_401": _row(
            "client", "16", "ERROR", "client", (21, "Call rejected (21), SIP 403")
        ),
        "trunk_refuses_the_password_407": _row(
            "client", "26", "ERROR", "client", (21, "Call rejected (21), SIP 403")
        ),
    },
}
