"""The switchboard: makes calls and follows them to their end.

Joins the board of live calls, the journal and Asterisk. It decides whether a call may be made;
what a signal means the call machine decides, and what was told before it is committed is nothing.
It knows no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.asterisk.ami_actions import AMIActions
from ccdaemon.asterisk.ami_errors import ActionRefused, AMIError
from ccdaemon.asterisk.looks import Endpoints, look_at_channels
from ccdaemon.asterisk.signals import from_event
from ccdaemon.asterisk.wire import Message
from ccdaemon.calls import machine, signals
from ccdaemon.calls.board import Board
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.machine import Call
from ccdaemon.calls.model import Direction, State, StateTold
from ccdaemon.config import Config
from ccdaemon.errors import Code, Refused
from ccdaemon.history.facts import Fact, StateFact
from ccdaemon.history.failures import JournalBroken, JournalFull, KeyTaken, NoLease
from ccdaemon.history.journal import Journal
from ccdaemon.history.rows import Chain
from ccdaemon.operators import Status
from ccdaemon.presence import Presence

CONTEXT = "ccdaemon-outbound"
#: Where a phone's call forward ends: a context with nothing to dial.
NOWHERE = "ccdaemon-nowhere"
#: Seconds after which a channel that a look did not find is looked for again.
SECOND_LOOK = 2.0

#: For an operator who cannot take a call: how its chain ends, and what the CRM is told.
UNABLE: dict[Status, tuple[Outcome, Code, str]] = {
    Status.OFFLINE: (Outcome.OFFLINE, Code.OPERATOR_OFFLINE, "operator {} is not registered"),
    Status.INUSE: (Outcome.BUSY, Code.OPERATOR_BUSY, "operator {} is on the phone"),
}


@frozen
class Recorded:
    """What the switchboard needs of the recordings."""

    path: Callable[[str, int], str]
    expect: Callable[[int, str, str], object]


class Switchboard:
    """Makes calls, hears signals, tells states.

    :param config: what may be dialled, and how.
    :param ami: the session with Asterisk, whether it stands or not.
    :param journal: keeps every fact before anyone is told.
    :param board: the live calls.
    :param presence: the operators, live.
    :param recorded: where recordings go, and who waits for them.
    :param clock: IReactorTime.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        ami: AMIActions,
        journal: Journal,
        board: Board,
        presence: Presence,
        recorded: Recorded,
        clock: IReactorTime,
    ) -> None:
        self._config = config
        self._ami = ami
        self._journal = journal
        self._board = board
        self._presence = presence
        self._recorded = recorded
        self._clock = clock
        self._session: AMIActions | None = None
        self._ready = False

    # Making a call

    async def make_call(
        self, *, sip: str, phone: str, order_id: str, external_key: str, client: str
    ) -> int:
        """Connect an operator with a client.

        :param client: the name of the API client that asks.
        :returns: the ``call_id``, once Asterisk has taken the call or may have.
        :raises Refused: with the reason; with a ``call_id`` where the attempt is a call of its
            own or where another call has the key.
        """
        await self._refuse_known_key(external_key)
        self._refuse_phone(phone)
        self._refuse_unready()
        status = await self._status(sip)
        # From here to the board nothing waits: of two requests for one operator the second
        # finds the first.
        if len(self._board) >= self._config.limits.max_calls:
            raise Refused(
                Code.TOO_MANY_CALLS,
                f"{len(self._board)} calls are up, as many as limits.max_calls allows",
                retry_after=5,
            )
        if self._board.of_operator(sip) is not None:
            status = Status.INUSE
        call = self._number(sip, phone, order_id, external_key)
        self.log.info(
            "call_id={call_id} order_id={order_id} sip={sip} asked for by {client}",
            call_id=call.call_id,
            order_id=order_id,
            sip=sip,
            client=client,
        )
        if status in UNABLE:
            await self._open_unable(call, *UNABLE[status])
        await self._open(call)
        await self._originate(call)
        return call.call_id

    async def _refuse_known_key(self, external_key: str) -> None:
        # First of all: whoever asks again wants to know what became of the call.
        try:
            taken = await self._journal.find_key(external_key)
        except JournalBroken as error:
            raise _not_ready(str(error)) from error
        if taken is not None:
            raise _key_used(taken)

    def _refuse_phone(self, phone: str) -> None:
        limits = self._config.limits
        allowed = phone.startswith(limits.allowed_prefixes) or not limits.allowed_prefixes
        if not allowed or phone.startswith(limits.forbidden_prefixes):
            raise Refused(
                Code.PHONE_NOT_ALLOWED,
                "this number may not be dialled: see limits.allowed_prefixes and"
                " limits.forbidden_prefixes in the configuration",
                field="phone",
            )

    def _refuse_unready(self) -> None:
        if not self._ready:
            raise _unavailable()
        if self._journal.not_ready:
            raise _not_ready(self._journal.not_ready)

    async def _status(self, sip: str) -> Status:
        try:
            status = await self._presence.status(sip)
        except AMIError as error:
            raise _unavailable() from error
        if status is None:
            raise Refused(
                Code.OPERATOR_UNKNOWN, f"Asterisk has no endpoint for operator {sip}", field="sip"
            )
        return status

    def _number(self, sip: str, phone: str, order_id: str, external_key: str) -> Call:
        try:
            call_id = self._journal.take_call_id()
        except NoLease as error:
            raise _not_ready(str(error)) from error
        call = self._call(call_id, Direction.OUTBOUND, sip, phone, order_id, external_key)
        return call

    def _call(
        self,
        call_id: int,
        direction: Direction,
        sip: str | None,
        phone: str,
        order_id: str | None,
        external_key: str | None,
    ) -> Call:
        anchor = f"cc-{self._journal.node}-{call_id}-o"
        return Call(call_id, order_id, external_key, direction, sip, phone, anchor)

    async def _open_unable(self, call: Call, outcome: Outcome, code: Code, words: str) -> None:
        """Tell a call that ends before anybody's phone rings, and refuse it."""
        now = self._now()
        opened = machine.open_call(call, now), machine.view(call)
        refused = machine.refuse(call, outcome, words.format(call.sip), now), machine.view(call)
        facts = [StateFact(told, view) for states, view in (opened, refused) for told in states]
        await self._commit_opening(call, facts)
        raise Refused(code, words.format(call.sip), field="sip", call_id=call.call_id)

    async def _open(self, call: Call) -> None:
        states = machine.open_call(call, self._now())
        self._board.add(call)
        try:
            await self._commit_opening(call, [StateFact(states[0], machine.view(call))])
        except BaseException:
            self._board.remove(call)
            raise

    async def _commit_opening(self, call: Call, facts: list[StateFact]) -> None:
        try:
            await self._journal.append(facts)
        except KeyTaken as error:
            raise _key_used(error.call_id) from error
        except (JournalFull, JournalBroken) as error:
            raise _not_ready(str(error)) from error
        self._log_states(call, [fact.state for fact in facts])

    async def _originate(self, call: Call) -> None:
        asterisk = self._config.asterisk
        sip, phone = call.sip or "", call.phone
        try:
            await self._ami.originate(
                channel=asterisk.operator_channel.replace("{sip}", sip),
                context=CONTEXT,
                exten="s",
                priority=1,
                timeout=asterisk.operator_timeout,
                callerid=f'"{self._caller_name(call)}" <{phone}>',
                channelid=call.anchor,
                variable={
                    "__FORWARD_CONTEXT": NOWHERE,
                    "__CC_RECORDING": self._recording(call),
                    "CC_DIAL": asterisk.client_channel.replace("{phone}", phone),
                    "CC_TIMEOUT": str(asterisk.client_timeout),
                    "CC_CALLERID": asterisk.caller_id,
                },
            )
        except ActionRefused as error:
            self._give_up(call, f"Asterisk refused the call: {error}")
            raise Refused(
                Code.ASTERISK_REFUSED,
                f"Asterisk refused the call: {error}",
                call_id=call.call_id,
            ) from error
        except AMIError as error:
            if not error.written:
                self._give_up(call, "there was no session with Asterisk")
                raise _unavailable(call.call_id) from error
            # Asterisk may have acted: never sent again, the next look decides by our own id.
            self.log.warn("call_id={call_id}: {error}", call_id=call.call_id, error=error)

    def _caller_name(self, call: Call) -> str:
        """What the operator's phone shows: printable, and nothing that ends the quotes."""
        name = self._config.asterisk.caller_id_name.replace("{order_id}", call.order_id or "")
        return re.sub(r"[^ !#-;=?-\[\]-~]", "?", name)

    def _recording(self, call: Call) -> str:
        if not self._config.asterisk.record:
            return ""
        return str(self._config.asterisk.recordings_dir / self._recording_path(call))

    def _recording_path(self, call: Call) -> str:
        return self._recorded.path(call.anchor, call.states[0].date)

    def _give_up(self, call: Call, words: str) -> None:
        self.hear(signals.Refused(call.anchor, call.anchor, self._now(), words))

    # Following calls

    def heard(self, session: object, event: Message) -> None:
        """An AMI event was heard that may speak of a call."""
        signal = from_event(event, self._now())
        if signal is not None:
            self.hear(signal)

    def hear(self, signal: signals.Signal) -> None:
        """Give a signal to the call it belongs to, and have told what it adds to its chain."""
        found = self._board.hear(signal)
        if found is None or not found[1]:
            return
        call, states = found
        facts: list[Fact] = [StateFact(told, machine.view(call)) for told in states]
        committed = self._journal.append(facts)
        committed.addCallbacks(
            lambda _: self._told(call, states), self._lost_facts, errbackArgs=(call,)
        )

    def _told(self, call: Call, states: Sequence[StateTold]) -> None:
        self._log_states(call, states)
        if states[-1].state is State.FINISH and self._config.asterisk.record:
            self._recorded.expect(call.call_id, call.anchor, self._recording_path(call))

    def _log_states(self, call: Call, states: Sequence[StateTold]) -> None:
        for told in states:
            self.log.info(
                "{state} call_id={call_id} order_id={order_id} sip={sip} {detail}",
                state=told.state.value,
                call_id=call.call_id,
                order_id=call.order_id,
                sip=call.sip,
                detail=told.detail or "",
            )

    def _lost_facts(self, failure: Failure, call: Call) -> None:
        self.log.failure(
            "call_id={call_id}: what happened could not be kept", failure, call_id=call.call_id
        )

    # Starting, and coming back after a gap

    def restore(self, chains: Sequence[Chain]) -> None:
        """Put calls that were live when the daemon ended back on the board."""
        for chain in chains:
            view = chain.call
            call = self._call(
                view.call_id,
                view.direction,
                view.sip,
                view.phone,
                view.order_id,
                view.external_key,
            )
            machine.restore(call, [row.state for row in chain.states])
            self._board.add(call)
        if chains:
            self.log.info("{count} calls were live at the last end", count=len(chains))

    async def up(self, session: AMIActions) -> None:
        """A session has begun: catch up with every call, then take new ones.

        :raises AMIError: if Asterisk cannot be asked.
        """
        self._session = session
        missing = await self._catch_up(session)
        if missing:
            # An originate that was just on its way has a channel by then.
            await deferLater(self._clock, SECOND_LOOK)
            for call in await self._catch_up(session, missing):
                words = "its end was not seen: Asterisk no longer has the channel"
                self.hear(signals.Lost(call.anchor, call.anchor, self._now(), words))
        self._ready = self._session is session

    async def _catch_up(
        self, session: AMIActions, among: Sequence[Call] | None = None
    ) -> list[Call]:
        """Give every live channel to its call; the calls whose anchor is not there are returned."""
        calls = list(self._board) if among is None else among
        seen = await look_at_channels(session, self._now())
        for signal in seen:
            self.hear(signal)
        there = {signal.channel for signal in seen}
        return [call for call in calls if not call.final and call.anchor not in there]

    def down(self) -> None:
        """The session is over; live calls go on in Asterisk."""
        self._session = None
        self._ready = False

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)


def _not_ready(words: str) -> Refused:
    return Refused(Code.NOT_READY, f"not ready: {words}", retry_after=5)


def _key_used(call_id: int) -> Refused:
    return Refused(
        Code.EXTERNAL_KEY_USED,
        f"call {call_id} has this external_key; every call needs one of its own",
        field="external_key",
        call_id=call_id,
    )


def _unavailable(call_id: int | None = None) -> Refused:
    return Refused(
        Code.ASTERISK_UNAVAILABLE,
        "there is no session with Asterisk; it is tried again all the time",
        call_id=call_id,
        retry_after=5,
    )
