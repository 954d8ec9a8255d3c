"""Operators: from Asterisk's device states to offline, online, inuse, and the log of changes.

Pure: it is told device states and moments and answers what changed. It knows neither AMI nor
the journal. All times are whole milliseconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum


class Status(str, Enum):
    """What an operator can do for a caller right now.

    ``PAUSED`` is an operator who is registered and idle, and wants no calls from clients.
    ``UNKNOWN`` is one whose phone is registered with another server than Asterisk; in the history
    it also says that from then on nobody could ask Asterisk.
    """

    OFFLINE = "offline"
    ONLINE = "online"
    INUSE = "inuse"
    PAUSED = "paused"
    UNKNOWN = "unknown"


#: Asterisk's device states, in AMI's spelling, to the status of the wire contract.
STATUS: dict[str, Status] = {
    "NOT_INUSE": Status.ONLINE,
    "INUSE": Status.INUSE,
    "BUSY": Status.INUSE,
    "RINGING": Status.INUSE,
    "RINGINUSE": Status.INUSE,
    "ONHOLD": Status.INUSE,
    "UNAVAILABLE": Status.OFFLINE,
    "INVALID": Status.OFFLINE,
    "UNKNOWN": Status.OFFLINE,
    # Not Asterisk's own word: only another server knows whether the phone is registered.
    "ELSEWHERE": Status.UNKNOWN,
}


#: Said of what changed while the daemon was not there.
UNSEEN = "found so at the daemon's start; when it changed was not seen"

#: Said of an operator whose phone is in use by Asterisk's word, and who has no channel.
STUCK = "in use without a channel for a minute: the device state is stuck"

#: The reason of a pause that a talk has left behind, and that ends by itself.
WRAP_UP = "wrap-up"
#: The reason of a pause that an operator has begun at their own phone.
UNDISTURBED = "do not disturb"


@dataclass(frozen=True, slots=True)
class OperatorView:
    """An operator as they stand now: the ``operator`` object.

    ``since`` is when ``status`` began; ``call_id`` the call they are on, if it is one of ours;
    ``stale`` is true while Asterisk cannot be asked. ``paused`` also while they are in use or
    offline.
    """

    sip: str
    status: Status
    device_state: str
    since: int
    call_id: int | None
    stale: bool
    paused: bool = False
    pause_reason: str | None = None


@dataclass(frozen=True, slots=True)
class OperatorChange:
    """One row of an operator's log, without its event id."""

    sip: str
    state: Status
    device_state: str | None
    call_id: int | None
    date: int
    detail: str | None
    paused: bool = False
    pause_reason: str | None = None


class Operators:
    """All operators whom Asterisk knows, as they stand now."""

    def __init__(self) -> None:
        self._last: dict[str, OperatorChange] = {}
        self._known: dict[str, OperatorView] = {}
        self._stale = True
        self._first = True

    def __contains__(self, sip: str) -> bool:
        return sip in self._known

    def __len__(self) -> int:
        return len(self._known)

    @property
    def are_known(self) -> bool:
        """Whether there was a whole look at Asterisk: before that anybody may be missing."""
        return not self._first

    @property
    def stale(self) -> bool:
        """Whether nobody can ask Asterisk just now."""
        return self._stale

    def remember(self, last: Mapping[str, OperatorChange]) -> None:
        """Take each operator's newest row of the history: from now on only what differs is told."""
        self._last.update(last)

    def names(self) -> frozenset[str]:
        """The operators known now."""
        return frozenset(self._known)

    def status(self, sip: str) -> Status | None:
        """What ``sip`` is doing, or None if Asterisk has no such endpoint."""
        view = self._known.get(sip)
        return view.status if view else None

    def pause_of(self, sip: str) -> tuple[bool, str | None]:
        """Whether ``sip`` is paused, and why; who is not known is not."""
        view = self._known.get(sip)
        return (view.paused, view.pause_reason) if view else (False, None)

    def views(self, calls: Callable[[str], int | None]) -> list[OperatorView]:
        """Every operator, sorted by sip; ``calls`` gives the call an operator is on."""
        return [
            replace(self._known[sip], call_id=calls(sip), stale=self._stale)
            for sip in sorted(self._known)
        ]

    def seen(
        self,
        sip: str,
        device_state: str,
        date: int,
        call_id: int | None = None,
        detail: str | None = None,
        *,
        stuck: bool = False,
    ) -> list[OperatorChange]:
        """Asterisk says what ``sip`` does now: the change to tell, if it is one.

        :param stuck: that they are in use is not so; it is only said.
        """
        before = self._known.get(sip)
        last = self._last.get(sip)
        paused = before.paused if before else last is not None and last.paused
        reason = before.pause_reason if before else last.pause_reason if last else None
        status = _visible("NOT_INUSE" if stuck else device_state, paused)
        detail = STUCK if stuck else detail
        since = before.since if before and before.status is status else date
        if before is None and last and last.state is status:
            since = last.date
        view = OperatorView(sip, status, device_state, since, None, False, paused, reason)
        return self._stand(view, call_id, date, detail)

    def pause(
        self, sip: str, reason: str | None, date: int, detail: str, call_id: int | None = None
    ) -> list[OperatorChange]:
        """Keep clients' calls from ``sip``, who is known: the change to tell, if it is one."""
        return self._set_paused(sip, (True, reason), date, detail, call_id)

    def resume(
        self, sip: str, date: int, detail: str, call_id: int | None = None
    ) -> list[OperatorChange]:
        """Let clients' calls reach ``sip`` again, who is known."""
        return self._set_paused(sip, (False, None), date, detail, call_id)

    def disturb(
        self, sip: str, undisturbed: bool, date: int, call_id: int | None = None
    ) -> list[OperatorChange]:
        """Do-not-disturb is switched on or off at the phone of ``sip``, who is known.

        It pauses; a pause that was asked for by somebody else stays as it is.
        """
        view = self._known[sip]
        if undisturbed and not view.paused:
            return self.pause(sip, UNDISTURBED, date, "do-not-disturb is on", call_id)
        if not undisturbed and view.paused and view.pause_reason == UNDISTURBED:
            return self.resume(sip, date, "do-not-disturb is off", call_id)
        return []

    def not_kept(self, sip: str) -> None:
        """What was said last of ``sip`` could not be kept: it is to be told again."""
        self._last.pop(sip, None)

    def _set_paused(
        self,
        sip: str,
        pause: tuple[bool, str | None],
        date: int,
        detail: str,
        call_id: int | None,
    ) -> list[OperatorChange]:
        before = self._known[sip]
        status = _visible(before.device_state, pause[0])
        since = before.since if before.status is status else date
        view = OperatorView(sip, status, before.device_state, since, None, False, *pause)
        return self._stand(view, call_id, date, detail)

    def _stand(
        self, view: OperatorView, call_id: int | None, date: int, detail: str | None
    ) -> list[OperatorChange]:
        self._known[view.sip] = view
        return self._change(
            OperatorChange(
                view.sip,
                view.status,
                view.device_state,
                call_id,
                date,
                detail,
                view.paused,
                view.pause_reason,
            )
        )

    def in_use_since(self, sip: str) -> int | None:
        """Since when ``sip`` is in use; None if they are not."""
        view = self._known.get(sip)
        return view.since if view is not None and view.status is Status.INUSE else None

    def looked(
        self,
        states: Mapping[str, str],
        date: int,
        calls: Callable[[str], int | None],
        stuck: Collection[str] = (),
    ) -> list[OperatorChange]:
        """A whole look at Asterisk: who is there and in what device state; the rest are gone.

        :param stuck: of whom it is only said that they are in use.

        What differs at the first look after a start says that nobody saw when it changed.
        """
        changes = []
        for sip in sorted(self._known.keys() - states.keys()):
            changes += self.gone(sip, date)
        for sip in sorted(states):
            unseen = UNSEEN if self._first and sip in self._last else None
            is_stuck = sip in stuck
            changes += self.seen(sip, states[sip], date, calls(sip), unseen, stuck=is_stuck)
        self._stale = self._first = False
        return changes

    def gone(self, sip: str, date: int) -> list[OperatorChange]:
        """Asterisk has no endpoint ``sip`` any more."""
        view = self._known.pop(sip, None)
        if view is None:
            return []
        pause = (view.paused, view.pause_reason)
        words = "removed from Asterisk"
        return self._change(OperatorChange(sip, Status.OFFLINE, None, None, date, words, *pause))

    def blind(self, date: int, why: str) -> list[OperatorChange]:
        """From now on nobody can ask Asterisk; said once for every operator."""
        if self._stale:
            return []
        self._stale = True
        changes = []
        for sip in sorted(self._known):
            pause = (self._known[sip].paused, self._known[sip].pause_reason)
            unknown = OperatorChange(sip, Status.UNKNOWN, None, None, date, why, *pause)
            changes += self._change(unknown)
        return changes

    def _change(self, change: OperatorChange) -> list[OperatorChange]:
        last = self._last.get(change.sip)
        if last and _shown(last) == _shown(change):
            return []
        self._last[change.sip] = change
        return [change]


def _visible(device_state: str, paused: bool) -> Status:
    """What is seen of an operator: in use and offline win over paused."""
    status = STATUS.get(device_state, Status.OFFLINE)
    return Status.PAUSED if paused and status in (Status.ONLINE, Status.UNKNOWN) else status


def _shown(change: OperatorChange) -> tuple[object, ...]:
    """What makes two rows of an operator's log differ."""
    return change.state, change.device_state, change.paused, change.pause_reason
