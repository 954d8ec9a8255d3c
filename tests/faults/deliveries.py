"""What arrived at a receiver of webhooks, held against the history. Pure.

Judges after everything is over; knows the wire contract of webhooks, and of the receiver what it
answered, not how it failed. Moments are seconds since 1970.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import inf
from typing import Any

from tests.faults.history import History
from tests.faults.marks import Silence, Wrong
from tests.integration.receiver import Post
from tests.integration.verdict import seconds

#: Seconds between the moment of an attempt, as it says itself, and its arrival.
_FRESH = 5.0
#: Seconds that a pause may be shorter by: the daemon counts whole milliseconds.
_ROUNDED = 0.01
#: Of a call, ``<call_id>-<seq>``; of its recording the number of the event is the last.
_NAME = re.compile(r"(record-)?(\d+)-(\d+)")


@dataclass
class Arrival:
    """A POST as it arrived, and what was answered.

    ``is_signed``: as the standard says. ``is_trusted``: over TLS the receiver had shown the
    certificate that it is known by. ``taken``: when it was answered 2xx; None: it was not.
    ``pause``: the seconds that were asked for.
    """

    post: Post
    is_signed: bool
    is_trusted: bool = True
    taken: float | None = None
    pause: float = 0.0

    @property
    def id(self) -> str:
        """What names the message; nothing if nothing does."""
        return self.post.headers.get("webhook-id", "")

    @cached_property
    def told(self) -> dict[str, Any]:
        """The announcement; empty if it is none."""
        try:
            told = json.loads(self.post.body)
        except ValueError:
            told = None
        return told if isinstance(told, dict) and isinstance(told.get("data"), dict) else {}

    @property
    def text(self) -> str:
        """What is told, letter by letter but for the order, which may be attached meanwhile."""
        return json.dumps(_without_order(self.told)) if self.told else repr(self.post.body)

    @property
    def call_id(self) -> int | None:
        """The call that it is about, by its name."""
        found = _NAME.fullmatch(self.id)
        return int(found[2]) if found else None

    def line(self) -> dict[str, Any]:
        """As a line of a log."""
        return {
            "when": self.post.when,
            "id": self.id,
            "path": self.post.path,
            "taken": self.taken,
            "pause": self.pause,
            "told": self.told,
        }


@dataclass(frozen=True)
class Terms:
    """What a receiver may expect.

    ``first``: seconds that are waited after a first failure, or a half less. ``within``: seconds
    in which it hears of a state; None: as soon as it does not fail.
    """

    name: str
    path: str
    first: float
    within: float | None = None


class Deliveries:
    """What arrived at one receiver.

    :param silences: when the daemon was dead.
    """

    def __init__(
        self,
        history: History,
        arrivals: Sequence[Arrival],
        terms: Terms,
        silences: Sequence[Silence] = (),
    ) -> None:
        self._terms = terms
        self._arrivals = arrivals
        self._silences = silences
        self._streamed = history.streamed
        self._records = history.records
        self._states = {
            f"{call_id}-{state['seq']}": state
            for call_id, states in history.streamed.items()
            for state in states
        }
        self._of: dict[str, list[Arrival]] = {}
        for arrival in arrivals:
            if arrival.post.path == terms.path:
                self._of.setdefault(arrival.id, []).append(arrival)

    def missing(self) -> list[Wrong]:
        """What the history has and the receiver has not taken, by call."""
        taken = {name: ones[0].told for name, ones in self._of.items() if any(_taken(ones))}
        heard = {told["data"].get("uniqueid") for told in taken.values() if told}
        missing: dict[int, list[str]] = defaultdict(list)
        for name, state in self._states.items():
            if name not in taken:
                missing[state["call_id"]].append(name)
        for call_id, records in self._records.items():
            names = [record["uniqueid"] for record in records if record["uniqueid"] not in heard]
            missing[call_id] += [f"the recording {name}" for name in names]
        return [
            self._wrong(call_id, f"not delivered: {', '.join(names)}")
            for call_id, names in missing.items()
            if names
        ]

    def wrong(self) -> list[Wrong]:
        """Everything that is wrong."""
        wrong = self.missing()
        wrong += [
            self._wrong(one.call_id, said) for one in self._arrivals for said in self._one(one)
        ]
        for ones in self._of.values():
            said = [*self._again(ones), *self._late(ones[0])]
            wrong += [self._wrong(ones[0].call_id, each) for each in said]
        lanes: dict[int, list[Arrival]] = defaultdict(list)
        for one in self._arrivals:
            if one.call_id is not None and one.id in self._of and self._expected(one):
                lanes[one.call_id].append(one)
        for call_id, ones in lanes.items():
            wrong += [self._wrong(call_id, said) for said in self._order(call_id, ones)]
        return wrong

    def _wrong(self, call_id: int | None, said: str) -> Wrong:
        return Wrong(f"webhook {self._terms.name}", call_id, said)

    def _one(self, arrival: Arrival) -> Iterator[str]:
        """What is wrong with one POST by itself."""
        post = arrival.post
        if post.path != self._terms.path:
            yield f"{arrival.id or 'something'} went to {post.path}"
            return
        if not arrival.is_trusted:
            yield f"{arrival.id} was told to who had no good certificate"
        if not arrival.is_signed:
            yield f"{arrival.id} has no right signature"
        moment = post.headers.get("webhook-timestamp", "0")
        if abs(post.when - float(moment)) > _FRESH:
            yield f"{arrival.id} of {moment} arrived at {post.when:.1f}"
        expected = self._expected(arrival)
        if expected is None:
            yield f"{arrival.id!r} is in no chain"
        elif _without_order(arrival.told) != _without_order(expected):
            yield f"{arrival.id} says {arrival.told} instead of {expected}"
        elif arrival.told["data"]["order_id"] not in (None, expected["data"]["order_id"]):
            yield f"{arrival.id} is under the order {arrival.told['data']['order_id']}"

    def _expected(self, arrival: Arrival) -> dict[str, Any] | None:
        """The announcement that the history makes of it; None: it has nothing like that."""
        state = self._states.get(arrival.id)
        if state is not None:
            return {"type": "call.state", "timestamp": state["date"], "data": state}
        if arrival.id.startswith("record-") and arrival.told and arrival.call_id is not None:
            for record in self._records.get(arrival.call_id, ()):
                if record["uniqueid"] == arrival.told["data"].get("uniqueid"):
                    return {"type": "record.ready", "timestamp": record["date"], "data": record}
        return None

    # Repetitions

    def _again(self, ones: Sequence[Arrival]) -> Iterator[str]:
        """What is wrong with the attempts of one message: they are equal, and not too often."""
        if len({one.text for one in ones}) > 1:
            yield f"{ones[0].id} is not the same when it is sent again"
        for before, after in pairwise(ones):
            waited = after.post.when - before.post.when
            if waited + _ROUNDED < self._pause(before, after):
                yield f"{after.id} was sent again after {waited:.2f} s"

    def _pause(self, before: Arrival, after: Arrival) -> float:
        """Seconds between two attempts, at least."""
        begun, end = before.post.when, after.post.when
        if any(begun <= silence.back and silence.gone <= end for silence in self._silences):
            # What was under way is sent again at once.
            return 0.0
        if before.pause:
            return before.pause
        # Who takes something is back, and gets at once what has waited for that.
        is_back = any(begun <= taken < end for taken in _taken(self._arrivals))
        return 0.0 if is_back else self._terms.first / 2

    # Moments

    def slowest(self) -> float:
        """Seconds until a state arrived that waited for nothing, at most."""
        return max((self._waited(ones[0]) for ones in self._of.values()), default=0.0)

    def _late(self, first: Arrival) -> Iterator[str]:
        """Whether who is well hears in time."""
        if self._terms.within is not None and self._waited(first) > self._terms.within:
            yield f"{first.id} arrived {self._waited(first):.1f} s after its moment"

    def _waited(self, first: Arrival) -> float:
        """Seconds from a state's moment, or from when the daemon was back at its work."""
        state = self._states.get(first.id)
        if state is None:
            return 0.0
        since = seconds(state["date"])
        for silence in self._silences:
            # It may have been on its way when the daemon fell silent.
            if silence.gone - (self._terms.within or 0.0) <= since <= silence.back:
                since = silence.back
        return first.post.when - since

    def _order(self, call_id: int, arrivals: Sequence[Arrival]) -> Iterator[str]:
        """Whether each of a call's came when what was told before it had been taken."""
        places = {one.id: int(one.id.rpartition("-")[2]) for one in arrivals}
        for state in self._streamed[call_id]:
            places[f"{call_id}-{state['seq']}"] = state["event_id"]
        lane = sorted(places, key=lambda name: places[name])
        latest = 0
        for one in arrivals:
            at = lane.index(one.id)
            if at < latest:
                yield f"{one.id} came again after {lane[latest]}"
            elif at and min(_taken(self._of.get(lane[at - 1], ())), default=inf) > one.post.when:
                yield f"{one.id} came before {lane[at - 1]} was taken"
            latest = max(at, latest)


def _taken(arrivals: Iterable[Arrival]) -> list[float]:
    """When they were taken, those that were."""
    return [one.taken for one in arrivals if one.taken is not None]


def _without_order(told: Mapping[str, Any]) -> dict[str, Any]:
    """An announcement, but for what may be attached later, and for where the daemon is."""
    data = {**told.get("data", {}), "order_id": None}
    if "url" in data:
        data["url"] = str(data["url"]).rpartition("/api/")[2]
    return {**told, "data": data}
