"""Calls of all kinds, begun at random all the time: by makeCall, and by clients who call in.

Keeps what was begun and what was answered. Every call has a client's number of its own. Judges
nothing.
"""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.request
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from math import inf
from time import time
from typing import Any
from urllib.parse import urlencode

from lab.daemon import Daemon
from lab.stack import Lab
from tests.faults.crm import Crm
from tests.faults.pace import Pace, length
from tests.integration import inbound_rows, rows

#: The operator whom callers reach while the daemon is silent; they answer and talk.
FALLBACK = "1057"
_ANSWER_TIMEOUT = 15.0
#: Calls begun a second until as many are up as there are to be.
_FILL_RATE = 8.0
#: Of the calls that are asked for, as many as this are followed by a key that is used.
_REPEATED = 0.3
#: Seconds that a call is longer than its talk at most.
_SHORTER = 4.0

#: What of the outbound table the CEL knows as well as AMI: all but what an operator's phone said.
OUTBOUND = {
    name: row
    for name, row in rows.ROWS.items()
    if name.startswith(("talk_", "client_", "operator_leaves_while"))
    or name
    in ("operator_busy_486", "operator_declines_603_after_ringing", "operator_rings_for_ever")
}
#: So that many are up at the same time.
OUTBOUND["talk_of_ten_seconds"] = rows.Row(rows.ANSWERS, "04", (rows.TALKED,), ("client",))
OUTBOUND["talk_of_five_seconds"] = rows.Row(rows.ANSWERS, "03", (rows.TALKED,), ("client",))
#: Of these nobody knows what a phone that says nothing has seen.
for _name in ("talk_client_vanishes", "talk_operator_vanishes", "client_forwards_302"):
    OUTBOUND.pop(_name, None)
#: Talks and ringing are what takes time: they come more often.
_LONG = [name for name in OUTBOUND if "long" in name or "rings" in name] + [
    "talk_after_client_rang_long",
    "talk_after_operator_rang_long",
]
_LONG += ["talk_of_ten_seconds", "talk_of_five_seconds"] * (len(_LONG) // 2)
#: Begun so that a number of calls is up all the time.
FILLING = "talk_of_ten_seconds"
INBOUND = {
    name: row
    for name, row in inbound_rows.ROWS.items()
    if name
    in (
        "talk_client_hangs_up",
        "talk_operator_hangs_up",
        "talk_after_operator_rang_long",
        "second_answers_after_first_rings_out",
        "second_answers_after_first_is_busy",
        "client_gives_up_while_it_rings",
        "several_ring_one_answers",
        "several_ring_out_the_next_answers",
    )
}


@dataclass
class Attempt:
    """A call that was begun: by whom, how it should go, and what came of asking for it.

    ``phone`` is the client's number, ``did`` what they dialled, if they did. ``sips``: the
    operators meant. ``answer``: makeCall's envelope, None where none came.
    """

    name: str
    row: rows.Row | inbound_rows.Row
    phone: str
    order_id: str
    sips: list[str]
    did: str | None = None
    begun: float = field(default_factory=time)
    asked: Future[dict[str, Any] | None] | None = None

    @property
    def answer(self) -> dict[str, Any] | None:
        """What makeCall was answered."""
        return self.asked.result() if self.asked is not None else None

    @property
    def has_failed(self) -> bool:
        """Whether it is known that makeCall made none."""
        if self.asked is None or not self.asked.done():
            return False
        return (self.answer or {}).get("status") != "ok"

    @property
    def call_id(self) -> int | None:
        """The call that makeCall made; None where it made none, or has not said so yet."""
        if self.asked is None or not self.asked.done():
            return None
        number: int | None = ((self.answer or {}).get("response") or {}).get("call_id")
        return number


@dataclass(frozen=True)
class Repeat:
    """The key of a call that was made, asked for once more, for a client of its own."""

    first: Attempt
    phone: str
    asked: Future[dict[str, Any] | None]

    @property
    def answer(self) -> dict[str, Any] | None:
        """What makeCall was answered."""
        return self.asked.result()


class Traffic:
    """Begins calls, two of three of them by makeCall.

    ``fill``: so many are kept up, where there are operators; otherwise they are begun at the rate
    of the ``pace``. ``repeats``: calls that were made are asked for once more now and then.
    """

    def __init__(
        self,
        lab: Lab,
        daemon: Daemon,
        crm: Crm,
        pace: Pace,
        mark: str,
        fill: int = 0,
        repeats: bool = False,
    ) -> None:
        self._lab = lab
        self._daemon = daemon
        self._crm = crm
        self._pace = pace
        self._fill = fill
        self._repeats = repeats
        # Many calls take many operators.
        self._slack = pace.slack / 3 if fill else pace.slack
        self._up: list[tuple[float, Attempt]] = []
        may = {name for name, row in OUTBOUND.items() if length(row, inf) <= pace.talk + _SHORTER}
        self._rows = sorted(may)
        self._long = [name for name in _LONG if name in may]
        self._mark = mark
        self._numbers = count(1)
        self._pool = ThreadPoolExecutor(40)
        self._next = time()
        talkers = [
            f"1{h}{n:02}" for h in range(3) for n in range(40, 60) if f"1{h}{n:02}" not in _APART
        ]
        self._free: dict[str, deque[tuple[float, str]]] = {
            f"{n:02}": deque((0.0, f"1{h}{n:02}") for h in range(3)) for n in range(40)
        }
        self._free["00"] += [(0.0, sip) for sip in talkers]
        self._talkers = talkers
        self.attempts: list[Attempt] = []
        self.repeats: list[Repeat] = []
        self.calls_in = True

    def go_on(self) -> None:
        """Begin what is due; to be called again and again, from the main thread."""
        while time() >= self._next:
            is_full = self.is_full()
            rate = _FILL_RATE if self._fill and not is_full else self._pace.rate
            self._next = max(self._next, time() - 1) + random.expovariate(rate)
            if self._fill and is_full:
                continue
            if random.random() < 0.67:
                self._outbound()
                if self._repeats and random.random() < _REPEATED:
                    self._again()
            elif self.calls_in:
                self._inbound()

    def is_full(self) -> bool:
        """Whether as many are up as are to be kept up, if each goes its usual way."""
        now = time()
        self._up = [(over, one) for over, one in self._up if over > now and not one.has_failed]
        return len(self._up) >= self._fill

    def _begun(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self._up.append((time() + length(attempt.row, self._pace.talk), attempt))

    def _take(self, endings: list[str], lasts: float) -> list[str]:
        """Operators who behave so and have been left alone for long enough; [] if there are not."""
        taken = []
        for ending in endings:
            free = self._free[ending]
            if not free or free[0][0] > time():
                break
            taken.append(free.popleft()[1])
        for sip, ending in zip(taken, endings, strict=False):
            wait = lasts + self._slack if len(taken) == len(endings) else 0.0
            self._free[ending].append((time() + wait, sip))
        return taken if len(taken) == len(endings) else []

    def _outbound(self) -> None:
        name = random.choice(self._long if random.random() < 0.5 else self._rows)
        if self._fill and random.random() < 0.5:
            name = FILLING
        row = OUTBOUND[name]
        sips = self._take([row.operator], length(row, self._pace.talk))
        if not sips:
            return
        number = next(self._numbers)
        phone = f"38067{self._mark}{number:04}{row.client}"
        attempt = Attempt(name, row, phone, f"order-{self._mark}-{number}", sips)
        attempt.asked = self._pool.submit(self._ask, sips[0], phone, attempt.order_id)
        self._begun(attempt)

    def _again(self) -> None:
        """Ask once more for a call that was made just now, or long ago."""
        made = [one for one in self.attempts if one.call_id is not None]
        if not made:
            return
        first = random.choice((made[-1], random.choice(made)))
        phone = f"38067{self._mark}{next(self._numbers):04}00"
        asked = self._pool.submit(self._ask, random.choice(self._talkers), phone, first.order_id)
        self.repeats.append(Repeat(first, phone, asked))

    def _ask(self, sip: str, phone: str, order_id: str) -> dict[str, Any] | None:
        named = {"sip": sip, "phone": phone, "order_id": order_id, "external_key": order_id}
        url = f"{self._daemon.url}/api/makeCall.json?{urlencode(named)}"
        try:
            with urllib.request.urlopen(url, timeout=_ANSWER_TIMEOUT) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
        except (OSError, ValueError):
            return None
        return answer

    def _inbound(self) -> None:
        name = random.choice(list(INBOUND))
        row = INBOUND[name]
        endings = [ending for each in row.rounds for ending in each]
        sips = self._take(endings, length(row, self._pace.talk))
        if not sips:
            return
        number = next(self._numbers)
        phone, did = f"38063{self._mark}{number:05}", f"38044{self._mark}{number:05}"
        attempt = Attempt(name, row, phone, f"order-{self._mark}-{number}", sips, did)
        left = iter(sips)
        self._crm.answers[did] = {
            "operators": [[next(left) for _ in each] for each in row.rounds],
            "order_id": attempt.order_id,
            "ring_timeout": inbound_rows.RING_TIMEOUT,
        }
        talk = min(row.talk, self._pace.talk)
        self._lab.clients.call(did, phone, talk=talk, cancel_after=row.cancel_after)
        self._begun(attempt)

    def settle(self) -> None:
        """Wait for every answer."""
        self._pool.shutdown()


#: The queue's members and the fallback have their own work.
_APART = ("1055", "1056", FALLBACK)
