"""What an ended leg stands for: from SIP answers, Q.850 causes and dial statuses to an outcome.

The dial status lies (a decline is NOANSWER to Dial) and a cause can mean two things (21 is a
phone's decline and a trunk's refusal), so the evidence is asked in the order of its precision:
the SIP answer, the cause, the dial status.
"""

from __future__ import annotations

import re
from enum import Enum


class Outcome(Enum):
    """Why a leg that was asked did not lead to a talk."""

    BUSY = "busy"
    NOANSWER = "noanswer"
    OFFLINE = "offline"
    CANCELLED = "cancelled"
    FAILED = "failed"


#: SIP answers that say something about the person; every other refusal is a failure of the way.
SIP_OUTCOME: dict[int, Outcome] = {
    408: Outcome.NOANSWER,
    480: Outcome.NOANSWER,
    486: Outcome.BUSY,
    600: Outcome.BUSY,
    603: Outcome.BUSY,
    607: Outcome.BUSY,
    608: Outcome.BUSY,
}

#: 487 echoes our own CANCEL and says nothing about why we cancelled. Of a leg that nobody cancelled
#: it says that whoever was asked has stopped ringing: no answer.
SIP_ECHO = 487

#: The causes that Asterisk makes of SIP answers, where the channel's own is not known yet.
SIP_CAUSE: dict[int, int] = {
    401: 21,
    403: 21,
    404: 1,
    407: 21,
    408: 18,
    410: 22,
    480: 19,
    483: 19,
    484: 28,
    486: 17,
    488: 58,
    500: 38,
    501: 29,
    503: 34,
    600: 17,
    603: 21,
    607: 21,
    608: 21,
}

#: What only the network can have said beside a SIP answer of which Asterisk makes another cause: by
#: ``Reason: Q.850`` of a gateway, whose SIP answer is a guess. 21 may be a decline and a refusal.
NETWORKS_OWN = frozenset({17, 18, 19, 20})

#: Normal clearing: a leg was ended by somebody on purpose.
NORMAL = 16

#: Somebody else was quicker.
ELSEWHERE = 26

#: What a leg has that Asterisk gave up because its time was over, as the version pleases.
RANG_OUT = frozenset({None, NORMAL, 19})

CAUSE_OUTCOME: dict[int, Outcome] = {
    NORMAL: Outcome.CANCELLED,
    17: Outcome.BUSY,
    18: Outcome.NOANSWER,
    19: Outcome.NOANSWER,
    20: Outcome.NOANSWER,
    21: Outcome.BUSY,
}

#: Where neither SIP nor a cause speaks. BUSY is not among them: a phone that is busy says so with
#: cause 17, and Dial calls it BUSY, too, when it was told not to follow a phone's call forward.
DIAL_STATUS_OUTCOME: dict[str, Outcome] = {
    "NOANSWER": Outcome.NOANSWER,
    "CANCEL": Outcome.CANCELLED,
}

#: What is said where there is no cause.
DIAL_STATUS_WORDS: dict[str, str] = {
    "BUSY": "a call forward of the phone is not followed",
    "NOANSWER": "no answer in time",
    "CANCEL": "the operator hung up",
}

#: What the detail of a talk says in which not one packet of sound came from a party.
SILENT_WORDS: dict[str, str] = {
    party: f"no sound from the {party}" for party in ("client", "operator")
}

#: Q.850, as Asterisk words it.
CAUSE_WORDS: dict[int, str] = {
    1: "Unallocated (unassigned) number",
    2: "No route to specified transit network",
    3: "No route to destination",
    6: "Channel unacceptable",
    7: "Call awarded and being delivered in an established channel",
    16: "Normal Clearing",
    17: "User busy",
    18: "No user responding",
    19: "User alerting, no answer",
    20: "Subscriber absent",
    21: "Call rejected",
    22: "Number changed",
    23: "Redirected to new destination",
    26: "Answered elsewhere",
    27: "Destination out of order",
    28: "Invalid number format",
    29: "Facility rejected",
    30: "Response to STATUS ENQUIRY",
    31: "Normal, unspecified",
    34: "Circuit/channel congestion",
    38: "Network out of order",
    41: "Temporary failure",
    42: "Switching equipment congestion",
    43: "Access information discarded",
    44: "Requested channel not available",
    50: "Facility not subscribed",
    52: "Outgoing call barred",
    54: "Incoming call barred",
    57: "Bearer capability not authorized",
    58: "Bearer capability not available",
    65: "Bearer capability not implemented",
    66: "Channel not implemented",
    69: "Facility not implemented",
    81: "Invalid call reference value",
    88: "Incompatible destination",
    95: "Invalid message unspecified",
    96: "Mandatory information element is missing",
    97: "Message type nonexistent",
    98: "Wrong message",
    99: "Information element nonexistent",
    100: "Invalid information element contents",
    101: "Wrong call state",
    102: "Recovery on timer expire",
    103: "Mandatory information element length error",
    111: "Protocol error",
    127: "Interworking",
}

_SIP = re.compile(r"(?:SIP )?([1-6][0-9]{2})(?: .*)?", re.ASCII | re.DOTALL)


def sip_code(tech: str) -> int | None:
    """The final SIP answer in ``tech`` (``SIP 486 Busy here``, ``486``), or None."""
    code = _code(tech)
    return code if code >= 300 and code != SIP_ECHO else None


def _code(tech: str) -> int:
    match = _SIP.fullmatch(tech)
    return int(match.group(1)) if match else 0


def own(cause: int | None, dial_status: str) -> int | None:
    """The cause, where it is the leg's own: normal clearing of what Dial gave up is Dial's."""
    return None if cause == NORMAL and dial_status else cause


def outcome(
    *, tech: str = "", cause: int | None = None, dial_status: str = "", is_own: bool = True
) -> Outcome:
    """What the evidence stands for; what nobody foresaw is a failure.

    :param is_own: the cause is surely the leg's own, and not one that another leg has left.
    """
    if dial_status == "CANCEL":
        return Outcome.CANCELLED
    code = sip_code(tech)
    if code is not None:
        if is_own and cause in NETWORKS_OWN and cause != SIP_CAUSE.get(code):
            return CAUSE_OUTCOME[cause]
        return SIP_OUTCOME.get(code, Outcome.FAILED)
    if _code(tech) == SIP_ECHO:
        return Outcome.NOANSWER
    if dial_status == "CHANUNAVAIL":
        # Nobody could be asked, whatever cause that is given: chan_sip takes a trunk without an
        # address for an absent subscriber (20).
        return Outcome.FAILED
    if cause := own(cause, dial_status):
        return CAUSE_OUTCOME.get(cause, Outcome.FAILED)
    return DIAL_STATUS_OUTCOME.get(dial_status, Outcome.FAILED)


def words(cause: int | None, tech: str, dial_status: str = "") -> str | None:
    """Cause and SIP answer for people: ``User busy (17), SIP 486 Busy Here``, or None."""
    parts = []
    if not cause and dial_status in DIAL_STATUS_WORDS:
        parts.append(DIAL_STATUS_WORDS[dial_status])
    if cause:
        parts.append(f"{CAUSE_WORDS.get(cause, 'Cause')} ({cause})")
    if sip_code(tech) is not None:
        parts.append(tech if tech.startswith("SIP ") else f"SIP {tech}")
    return ", ".join(parts) or None
