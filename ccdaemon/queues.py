"""Queues: who is a member of which queue of Asterisk, and whose pause is not the same here.

Pure: it is told what Asterisk says of its queues and what is wanted of operators, and answers what
to ask of Asterisk and what has been changed there. It knows neither AMI nor clocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

#: The reason of a member's pause while their operator has a call of ours, which no queue is to
#: disturb; nobody else's.
BUSY = "ccdaemon: on a call"
#: Letters that are kept of the reason of a pause that was made in Asterisk.
MOST_REASON = 64

_LOCAL = re.compile(r"Local/([^@/]+)@")
_AGENT = re.compile(r"Agent/(.+)")
_HINT = re.compile(r"hint:([^@]+)@")
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")


@dataclass(frozen=True, slots=True)
class Pause:
    """What a member of a queue is, or is to be: paused or not, and why."""

    paused: bool
    reason: str | None = None


#: Nobody keeps clients from this operator.
FREE = Pause(False)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a queue, as Asterisk names them.

    ``interface`` is what the queue dials, ``state_interface`` the device that says whether they are
    free; the same where Asterisk names no other.
    """

    queue: str
    interface: str
    state_interface: str
    pause: Pause

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others."""
        return self.queue, self.interface


class Spelling:
    """Which operator a member of a queue is, in all ways in which members are written.

    :param sip_of_device: the operator whose device this is, e.g. ``PJSIP/1000``.
    :param is_operator: whether a number may be an operator's.
    """

    def __init__(
        self, sip_of_device: Callable[[str], str | None], is_operator: Callable[[str], bool]
    ) -> None:
        self._sip_of_device = sip_of_device
        self._is_operator = is_operator

    def sip(self, interface: str, state_interface: str) -> str | None:
        """The operator; None if it is nobody's phone that is known here.

        What is dialled may be anything: ``PJSIP/1000``, ``Local/1000@from-queue/n``,
        ``Agent/1000``. Where it leads the device says that Asterisk watches for it.
        """
        for device in (interface, state_interface):
            sip = self._sip_of_device(device)
            if sip is not None:
                return sip
        for pattern, text in ((_HINT, state_interface), (_LOCAL, interface), (_AGENT, interface)):
            found = pattern.match(text)
            if found is not None and self._is_operator(found[1]):
                return found[1]
        return None


class Queues:
    """The members of all queues, as far as they are operators."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._members: dict[str, dict[tuple[str, str], Member]] = {}
        # Who is paused because it was wanted here: that we end, and see ended.
        self._ours: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return sum(len(members) for members in self._members.values())

    def forget(self) -> None:
        """The session is over: nobody knows who is in which queue. What was ours stays so."""
        self._members.clear()

    def sips(self) -> frozenset[str]:
        """The operators who are in some queue."""
        return frozenset(self._members)

    def drop(self, member: Member) -> None:
        """Asterisk has no such member any more."""
        for members in self._members.values():
            members.pop(member.key, None)
        self._ours.discard(member.key)

    def set(self, member: Member, pause: Pause) -> None:
        """Asterisk has done to a member what was asked."""
        for members in self._members.values():
            if member.key in members:
                members[member.key] = replace(member, pause=pause)
        (self._ours.add if pause.paused else self._ours.discard)(member.key)

    def to_ask(self, sip: str, wanted: Pause) -> list[Member]:
        """The members of an operator that are not as they are to be.

        Whom somebody else has paused in one of several queues stays so while they are free.
        """
        members = self._members.get(sip, {}).values()
        if not wanted.paused:
            return [one for one in members if one.pause.paused and one.key in self._ours]
        gone = wanted.reason != BUSY
        return [one for one in members if not one.pause.paused or (gone and _is_busy(one))]

    def is_news(self, member: Member, wanted: Callable[[str], Pause]) -> bool:
        """Whether an event says something else of an operator than what is wanted of them."""
        sip = self._spelling.sip(member.interface, member.state_interface)
        if sip is None:
            return False
        want = wanted(sip)
        if member.pause.paused != want.paused or member.key not in self._members.get(sip, {}):
            return True
        return want.reason == BUSY and not _is_busy(member)

    def looked(
        self,
        found: Iterable[Member],
        wanted: Callable[[str], Pause],
        in_motion: Collection[str] = (),
        *,
        first: bool = False,
    ) -> dict[str, Pause]:
        """A whole look at Asterisk's queues.

        :param in_motion: operators of whom something was asked while it was looked: what the look
            says of them may be older, and counts for nothing.
        :param first: of this session. Asterisk may be another one, which knows of no pause.
        :returns: the operators whose pause was made or ended in Asterisk, and how it stands there.
            They are paused who are so in every queue they are in, and not by us; who was paused
            here, and is free in one queue, is not.
        """
        before, self._members = self._members, {}
        for member in found:
            sip = self._spelling.sip(member.interface, member.state_interface)
            if sip is not None:
                known = before.get(sip, {}).get(member.key) if sip in in_motion else None
                self._members.setdefault(sip, {})[member.key] = known or member
        self._ours &= {key for members in self._members.values() for key in members}
        changed = {}
        for sip, members in self._members.items():
            if sip not in in_motion:
                there = self._changed(list(members.values()), wanted(sip), first)
                if there is not None:
                    changed[sip] = there
        return changed

    def _changed(self, members: list[Member], wanted: Pause, first: bool) -> Pause | None:
        """What was changed in Asterisk of one operator; None if nothing was."""
        is_pause = wanted.paused and wanted.reason != BUSY
        ended = False
        for one in members:
            if not one.pause.paused:
                ended = ended or (is_pause and not first and one.key in self._ours)
                self._ours.discard(one.key)
            elif is_pause or _is_busy(one):
                self._ours.add(one.key)
        if ended:
            return FREE
        theirs = [one for one in members if one.pause.paused and one.key not in self._ours]
        if is_pause or len(theirs) < len(members):
            return None
        self._ours.update(one.key for one in theirs)
        return Pause(True, _readable(theirs[0].pause.reason))


def _is_busy(member: Member) -> bool:
    """Whether a member is paused for a call of ours."""
    return member.pause.paused and member.pause.reason == BUSY


def _readable(reason: str | None) -> str | None:
    """What may be shown of a reason that somebody gave in Asterisk."""
    return _NOT_SHOWN.sub(" ", reason or "").strip()[:MOST_REASON] or None
