"""Brings operators' pauses into Asterisk's queues, and hears of those that are made there.

What is wanted of an operator is asked of who knows their pauses; what differs ``queues`` decides.
Without the right to pause members everything else goes on, and the queues ring whom they ring.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.ami.ami_wire import BadHeader, Message
from ccdaemon.pbx.ami_queues import member_of, pause_member, query_members
from ccdaemon.queues import Member, Pause, Queues

#: Seconds between two looks when nothing happens.
LOOK_EVERY = 60.0
#: Seconds after which it is looked at what was told: one act tells of every queue.
AFTER_EVENT = 0.3
#: Seconds that somebody waits for the queues at most.
PUSHED_WITHIN = 1.0
#: Asterisk's word where the write class is missing.
_DENIED = "permission denied"


class KnowsPauses(Protocol):
    """What is known here of operators' pauses."""

    def wanted(self, sip: str) -> Pause:
        """What queues are to make of an operator."""
        ...

    def changed_in_asterisk(self, sip: str, pause: Pause) -> None:
        """An operator was paused, or resumed, in every queue they are in."""
        ...


class QueuePauses:
    """Keeps the members of queues paused as operators are.

    :ivar may_pause: whether Asterisk let us the last time; None: it was not asked yet.
    """

    log = Logger()

    def __init__(self, queues: Queues, pauses: KnowsPauses, clock: IReactorTime) -> None:
        self._queues = queues
        self._pauses = pauses
        self._clock = clock
        self._session: AMIActions | None = None
        self._next: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        # Who is being brought there, and of whom something was asked since a look began.
        self._pushing: dict[str, Deferred[None]] = {}
        self._in_motion: set[str] = set()
        self.may_pause: bool | None = None

    # Life

    def up(self, session: AMIActions) -> None:
        """A session has begun: look at the queues, then follow. Nobody waits for that."""
        self._session = session
        self.may_pause = None
        self._begin_to_look(session, first=True)

    def down(self) -> None:
        """The session is over."""
        self._session = None
        if self._next is not None and self._next.active():
            self._next.cancel()
        for work in (self._looking, *self._pushing.values()):
            if work is not None:
                work.cancel()
        self._queues.forget()

    # What is told

    def heard(self, event: Message) -> None:
        """An event has told of a member of a queue."""
        if self._session is None:
            return
        is_change = event.get("Event") == "QueueMemberPause"
        if not is_change or self._queues.is_news(member_of(event), self._pauses.wanted):
            self._plan(AFTER_EVENT)

    def changed(self, sip: str) -> None:
        """What is wanted of an operator may be something else now."""
        if self._session is not None and sip not in self._pushing:
            self._push(self._session, sip)

    async def pushed(self, sip: str) -> None:
        """Wait until the queues have what is wanted of an operator, but not for long."""
        pushing = self._pushing.get(sip)
        if pushing is None:
            return
        done: Deferred[None] = Deferred()
        pushing.addBoth(lambda _: None if done.called else done.callback(None))
        try:
            await done.addTimeout(PUSHED_WITHIN, self._clock)
        except TimeoutError:
            self.log.warn("the queues have not heard yet that {sip} is paused", sip=sip)

    # To Asterisk

    def _push(self, session: AMIActions, sip: str) -> None:
        if self.may_pause is False or not self._queues.to_ask(sip, self._pauses.wanted(sip)):
            return
        pushing = Deferred.fromCoroutine(self._push_all(session, sip))
        if not pushing.called:
            self._pushing[sip] = pushing
        pushing.addErrback(lambda failure: failure.trap(CancelledError))
        pushing.addBoth(lambda _: self._pushing.pop(sip, None) and None)

    async def _push_all(self, session: AMIActions, sip: str) -> None:
        """Until nothing differs: what is wanted may change meanwhile."""
        while members := self._queues.to_ask(sip, wanted := self._pauses.wanted(sip)):
            self._in_motion.add(sip)
            if not await self._ask(session, members[0], wanted):
                return

    async def _ask(self, session: AMIActions, member: Member, wanted: Pause) -> bool:
        """Pause or free one member; say whether to go on."""
        try:
            await pause_member(session, member, wanted)
        except ActionRefused as error:
            if _DENIED in error.message.lower():
                self._may_not()
                return False
            # Taken out of the queue meanwhile.
            self._queues.drop(member)
        except (AMIError, BadHeader) as error:
            self.log.warn(
                "{interface} could not be paused in queue {queue}: {error}",
                interface=member.interface,
                queue=member.queue,
                error=error,
            )
            return False
        else:
            self.may_pause = True
            self._queues.set(member, wanted)
        return True

    def _may_not(self) -> None:
        if self.may_pause is not False:
            self.log.warn(
                "Asterisk does not let us pause members of queues, which ring paused operators."
                " Give the AMI user write class agent; see manager_ccdaemon.conf"
            )
        self.may_pause = False

    # From Asterisk

    def _plan(self, seconds: float) -> None:
        if self._next is not None and self._next.active():
            if self._next.getTime() <= self._clock.seconds() + seconds:
                return
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._look_again)

    def _look_again(self) -> None:
        if self._session is not None and self._looking is None:
            self._begin_to_look(self._session)

    def _begin_to_look(self, session: AMIActions, *, first: bool = False) -> None:
        looking = Deferred.fromCoroutine(self._look_on(session, first=first))
        if not looking.called:
            self._looking = looking
        looking.addErrback(lambda failure: failure.trap(CancelledError))

    async def _look_on(self, session: AMIActions, *, first: bool) -> None:
        try:
            await self._look(session, first)
        except ActionRefused:
            pass  # It has no app_queue, so there is nobody to pause.
        except AMIError as error:
            self.log.warn("could not look at the queues: {error}", error=error)
        finally:
            self._looking = None
            if self._session is session:
                self._plan(LOOK_EVERY)

    async def _look(self, session: AMIActions, first: bool) -> None:
        self._in_motion = set(self._pushing)
        members = await query_members(session)
        moved = self._in_motion | set(self._pushing)
        news = self._queues.looked(members, self._pauses.wanted, moved, first=first)
        for sip, pause in news.items():
            self._pauses.changed_in_asterisk(sip, pause)
        for sip in self._queues.sips():
            self.changed(sip)
