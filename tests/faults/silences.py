"""The daemon dead or standing still: nobody notices at the phones.

Judges by the phones' own logs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lab.phones import PhoneEvent
from tests.faults.marks import Cut, Silence, Wrong
from tests.faults.phones import Phones
from tests.faults.traffic import FALLBACK, Attempt
from tests.integration.verdict import when

#: Seconds from a client's INVITE to the one at somebody's phone.
WITHIN = 3.0
#: Seconds for which the dialplan waits for the daemon: who called so long before it fell silent may
#: be waiting for it.
_ASKED = 2.5
#: Seconds within which an answer and the end of the ringing may have crossed: that was no talk.
_CROSSED = 0.2
_ENDS = ("bye", "hangup", "cancelled", "refused")


@dataclass(frozen=True)
class Seen:
    """A call as the phones saw it. ``operators``: what all of theirs saw."""

    attempt: Attempt
    client: Sequence[PhoneEvent]
    operators: Sequence[PhoneEvent]

    @property
    def talk(self) -> tuple[float, float] | None:
        """When they talked, from the later answer to the first end."""
        answers = when(list(self.client), "answered"), when(list(self.operators), "answered")
        if answers[0] is None or answers[1] is None:
            return None
        begun = max(answers[0], answers[1])
        ends = [event.time for event in self.both if event.event in ("bye", "hangup")]
        return begun, min(ends, default=float("inf"))

    @property
    def both(self) -> list[PhoneEvent]:
        """All, in order of time."""
        return sorted([*self.client, *self.operators], key=lambda event: event.time)

    def is_up(self, moment: float) -> bool:
        """Whether some phone rings, is called or talks."""
        dialogs: dict[str, list[PhoneEvent]] = {}
        for event in self.both:
            dialogs.setdefault(event.call_id, []).append(event)
        return any(
            dialog[0].time <= moment
            and not any(event.event in _ENDS and event.time < moment for event in dialog)
            for dialog in dialogs.values()
        )


def seen(attempts: Iterable[Attempt], phones: Phones) -> list[Seen]:
    """Every call that was begun, as the phones saw it."""
    return [
        Seen(
            one,
            phones.clients[one.did or one.phone],
            [event for events in phones.operators[one.phone].values() for event in events],
        )
        for one in attempts
    ]


def dropped(calls: Iterable[Seen], cuts: Sequence[Cut]) -> Iterator[Wrong]:
    """Talks that ended though nobody hung up: both phones were told that the other one did."""
    for call in calls:
        talk = call.talk
        if talk is None or talk[1] - talk[0] < _CROSSED:
            continue
        end = next((event for event in call.both if event.event in ("bye", "hangup")), None)
        is_cut = any(cut.gone <= talk[1] and talk[0] <= cut.back for cut in cuts)
        if end is not None and end.event == "bye" and not is_cut:
            what = f"the talk with {call.attempt.phone} was dropped {talk[1] - talk[0]:.1f} s in"
            yield Wrong(call.attempt.name, None, what)


@dataclass
class Meanwhile:
    """What went on while the daemon was silent.

    ``talks``: those under way as it fell silent. ``waited``: how long each client who called
    meanwhile and came to the fallback waited for it to ring, in seconds. ``gave_up``: clients who
    hung up before.
    """

    talks: int = 0
    waited: list[float] = field(default_factory=list)
    gave_up: int = 0
    wrong: list[Wrong] = field(default_factory=list)

    def words(self, dropped: int) -> str:
        """For the table. ``dropped``: how many talks were, of all."""
        worst = f", {max(self.waited):.2f} s after they called at most" if self.waited else ""
        return (
            f"{self.talks} talks were under way as the daemon fell silent, {dropped} were dropped;"
            f" for {len(self.waited)} clients who called meanwhile the fallback's phone rang{worst}"
        )


def meanwhile(calls: Sequence[Seen], silences: Sequence[Silence]) -> Meanwhile:
    """Whether each client who called while the daemon was silent had somebody's phone ring."""
    told = Meanwhile()
    for silence in silences:
        talks = [call.talk for call in calls if call.talk is not None]
        told.talks += sum(begun <= silence.gone <= end for begun, end in talks)
        for call in calls:
            dialled = when(list(call.client), "dialled") if call.attempt.did else None
            if dialled is not None and silence.gone - _ASKED <= dialled <= silence.back:
                _wait(told, call, dialled)
    return told


def _wait(told: Meanwhile, call: Seen, dialled: float) -> None:
    rung = when(list(call.operators), "invite")
    gave_up = when(list(call.client), "cancelled")
    if rung is None and gave_up is not None and gave_up - dialled <= WITHIN:
        told.gave_up += 1
    elif rung is None or rung - dialled > WITHIN:
        waited = "for ever" if rung is None else f"{rung - dialled:.2f} s"
        what = f"the client waited {waited} for a phone to ring"
        told.wrong.append(Wrong(call.attempt.name, None, what))
    elif any(event.number == FALLBACK for event in call.operators if event.event == "invite"):
        told.waited.append(rung - dialled)
