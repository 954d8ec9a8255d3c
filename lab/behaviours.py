"""What a phone does when it is called: a table, by the last two digits of the number dialled.

The same plan serves operators (10NN, 11NN, 12NN) and clients (any number that ends so). Knows
nothing of SIPp; ``scenario`` spells it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

BUSY, DECLINED = 486, 603
_CHALLENGE = 'Digest realm="lab", nonce="6c61622d6e6f6e6365", algorithm=MD5'

_ELSEWHERE = "<sip:380990000000@[local_ip]:[local_port]>"


@dataclass(frozen=True)
class Behaviour:
    """One phone's way. Seconds; ``inf`` is for ever.

    ``ring``: how long it rings before it does what it does, 0 for not at all; told by 180, or
    ``early`` by 183, or ``silent`` not at all. ``refuse``: the SIP code instead of an answer,
    in the words of ``reason`` where it is given, with ``headers`` on it. ``talk``: hangs up so
    long after the answer. ``sound``: plays a tone while it talks. ``deaf``: receives and never
    says a word. ``vanish``: answers, then nothing, not even to a BYE.
    """

    what: str
    ring: float = 0.3
    talk: float = inf
    refuse: int | None = None
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    early: bool = False
    sound: bool = True
    deaf: bool = False
    vanish: bool = False


def _refusal(code: int, what: str, ring: float = 0.0, **headers: str) -> Behaviour:
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return Behaviour(f"{code} {what}", ring=ring, refuse=code, headers=spelled)


#: The number plan. What is not named here (40 to 98) does as 00.
PLAN: Final[Mapping[str, Behaviour]] = {
    "00": Behaviour("answers after 0.3 s, talks until the other side hangs up"),
    "01": Behaviour("answers, hangs up after 2 s", talk=2.0),
    "02": Behaviour("rings 3 s, then answers and talks", ring=3.0),
    "03": Behaviour("answers, hangs up after 5 s", talk=5.0),
    "04": Behaviour("answers, hangs up after 10 s", talk=10.0),
    "05": _refusal(BUSY, "busy"),
    "06": Behaviour("rings for ever", ring=inf),
    "07": _refusal(DECLINED, "declined"),
    "08": _refusal(600, "busy everywhere"),
    "09": _refusal(480, "temporarily unavailable"),
    "10": _refusal(408, "request timeout"),
    "11": _refusal(404, "not found"),
    "12": _refusal(403, "forbidden"),
    "13": _refusal(503, "service unavailable"),
    "14": _refusal(302, "moved to a number that ends in 00", Contact=_ELSEWHERE),
    "15": _refusal(488, "not acceptable here"),
    "16": _refusal(401, "unauthorized, whatever one says", WWW_Authenticate=_CHALLENGE),
    "17": Behaviour("answers at once and hangs up at once", ring=0.0, talk=0.0),
    "18": Behaviour("answers, hangs up after 0.3 s", talk=0.3),
    "19": Behaviour("never says a word", deaf=True),
    "20": Behaviour("100, then neither rings nor answers", ring=inf, silent=True),
    "21": Behaviour("183 for 2 s, then answers and talks", ring=2.0, early=True),
    "22": _refusal(BUSY, "busy after 2 s of ringing", ring=2.0),
    "23": _refusal(DECLINED, "declined after 2 s of ringing", ring=2.0),
    "24": Behaviour("rings 10 s, then answers and talks", ring=10.0),
    "25": _refusal(480, "after 2 s of ringing", ring=2.0),
    "26": _refusal(407, "proxy wants a password, whatever one says", Proxy_Authenticate=_CHALLENGE),
    "27": _refusal(484, "address incomplete"),
    "28": _refusal(500, "server error"),
    "29": _refusal(502, "bad gateway"),
    "30": _refusal(604, "does not exist anywhere"),
    "31": _refusal(410, "gone"),
    "32": _refusal(504, "gateway timeout"),
    "33": _refusal(606, "not acceptable"),
    "34": Behaviour("answers, hangs up after 1 s", talk=1.0),
    "35": Behaviour("answers, hangs up after 30 s", talk=30.0),
    "36": Behaviour("answers and says nothing: no sound", sound=False),
    "37": Behaviour("answers and is gone: no BYE from it, none confirmed", vanish=True),
    "38": Behaviour("183 for ever", ring=inf, early=True),
    "39": _refusal(501, "not implemented"),
    "99": Behaviour(
        "busy, in words that could break a dialplan",
        ring=0.0,
        refuse=BUSY,
        reason="Busy (x,Source: evil|${EXTEN}",
    ),
}
OTHERS: Final = "00"
