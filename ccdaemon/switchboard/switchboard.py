"""The switchboard: what a CRM can have done with calls.

Decides whether a call may be made, has it told and has Asterisk begin it. What becomes of it then
is followed elsewhere (``live``). It knows no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.calls import signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import CallView
from ccdaemon.clocks import WallClock
from ccdaemon.config import Config
from ccdaemon.errors import Code, Refused, no_session, not_ready, operator_unknown
from ccdaemon.limits.amounts import Before
from ccdaemon.limits.dialling import DialLimits
from ccdaemon.limits.trunks import Trunks
from ccdaemon.numbers import Number
from ccdaemon.operators import Status
from ccdaemon.pbx import call_tag
from ccdaemon.pbx.ami_queries import has_several_contacts
from ccdaemon.pbx.dialplan import GOES_NOWHERE, Context, Own, Variable
from ccdaemon.recordings.recordings import relative_path
from ccdaemon.store.facts import Event, StateFact
from ccdaemon.store.failures import JournalBroken, JournalFull, KeyTaken, NoLease
from ccdaemon.store.journal import Journal
from ccdaemon.switchboard.call_options import NO_OPTIONS, CallOptions
from ccdaemon.switchboard.ring import Ring
from ccdaemon.tracking.calls import LiveCalls
from ccdaemon.tracking.presence import Presence

#: For an operator who cannot take a call: how its chain ends, and what the CRM is told.
UNABLE: dict[Status, tuple[Outcome, Code, str]] = {
    Status.OFFLINE: (Outcome.OFFLINE, Code.OPERATOR_OFFLINE, "operator {} is not registered"),
    Status.INUSE: (Outcome.BUSY, Code.OPERATOR_BUSY, "operator {} is on the phone"),
}


class Switchboard:
    """Makes calls.

    :param config: what may be dialled, and how.
    :param ami: the session with Asterisk, whether it stands or not.
    :param journal: says whether calls can be kept, and who has a key.
    :param live: the live calls.
    :param presence: the operators, live.
    :param limits: what may be dialled.
    :param trunks: how it is dialled.
    :param clock: IReactorTime.
    :param wall: WallClock that says what time it is.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        ami: AMIActions,
        journal: Journal,
        live: LiveCalls,
        presence: Presence,
        limits: DialLimits,
        trunks: Trunks,
        clock: IReactorTime,
        wall: WallClock,
    ) -> None:
        self._config = config
        self._ami = ami
        self._journal = journal
        self._live = live
        self._presence = presence
        self._limits = limits
        self._trunks = trunks
        self._clock = clock
        self._wall = wall
        self._ready = False

    # Making a call

    async def make_call(
        self,
        *,
        sip: str,
        phone: Number,
        order_id: str,
        external_key: str,
        client: str,
        address: str | None = None,
        options: CallOptions = NO_OPTIONS,
    ) -> int:
        """Connect an operator with a client.

        :param client: the name of the API client that asks, ``address`` from where.
        :returns: the ``call_id``, once Asterisk has taken the call or may have.
        :raises Refused: with the reason; with a ``call_id`` where the attempt is a call of its
            own or where another call has the key.
        """
        options.refuse_stranger(self._config)
        await self._refuse_known_key(external_key)
        self._limits.refuse_phone(phone, sip, client, self._wall.seconds())
        self._refuse_unready()
        await self.refuse_colleague(phone)
        status = await self._status(sip)
        # From here to the board nothing waits: of two requests for one operator the second
        # finds the first.
        now, up = self._clock.seconds(), len(self._live)
        permit = self._limits.take(phone, sip, client, up, now, options.max_duration)
        options = replace(options, max_duration=permit.longest)
        if self._live.of_operator(sip) is not None:
            status = Status.INUSE
        dialled = self._trunks.dial(phone).channel
        call = self._number(sip, phone, order_id, external_key, options, (client, address))
        self._limits.amounts.bind(permit, call.anchor)
        self.log.info(
            "call_id={call_id} sip={sip} asked for by {client} at {address}",
            call_id=call.call_id,
            sip=sip,
            client=client,
            address=address,
        )
        try:
            await self._open(call, status)
            await self._originate(call, dialled, options)
        except Refused:
            self._limits.amounts.over(call.anchor, 0.0, self._clock.seconds())
            raise
        return call.call_id

    async def _refuse_known_key(self, external_key: str) -> None:
        # First of all: whoever asks again wants to know what became of the call.
        try:
            taken = await self._journal.find_key(external_key)
        except JournalBroken as error:
            raise not_ready(error) from error
        if taken is not None:
            raise _key_used(taken)

    async def refuse_colleague(self, phone: Number) -> None:
        """Refuse an operator's number: no trunk leads to a colleague.

        :raises Refused: with ``phone_not_allowed``.
        """
        if not self._config.asterisk.operator_pattern.matches(phone.form):
            return
        try:
            status = await self._presence.status(phone.form)
        except AMIError as error:
            raise no_session() from error
        if status is not None:
            words = (
                f"{phone.form} is an operator, whom no trunk reaches; transfer takes sip for one"
            )
            raise Refused(Code.PHONE_NOT_ALLOWED, words, field="phone")

    def refuse_phone(
        self, phone: Number, sip: str | None, client: str | None, anchor: str
    ) -> int | None:
        """Refuse a number that may not be dialled now in a call that is up, or count it.

        :param sip: the operator who is on the call.
        :param client: the API client that asks for it; None where the operator dials by hand.
        :param anchor: the channel that the call began with.
        :returns: for how many seconds they may talk; None: as long as they like.
        :raises Refused: as :class:`DialLimits` does.
        """
        others = max(0, len(self._live) - 1)
        self._limits.refuse_phone(phone, sip, client, self._wall.seconds())
        permit = self._limits.take(phone, sip, client, others, self._clock.seconds())
        self._limits.amounts.bind(permit, anchor)
        return permit.longest

    def heard(self, events: Sequence[Event]) -> None:
        """Calls are over, the journal says: what they had reserved and have not talked is free."""
        for fact in (event.fact for event in events):
            if isinstance(fact, StateFact) and fact.call.final and fact.call.anchor is not None:
                talked = fact.call.talk_seconds or 0.0
                self._limits.amounts.over(fact.call.anchor, talked, self._clock.seconds())

    def remember(self, calls: Iterable[CallView]) -> None:
        """Count what was dialled within the last day."""
        now = self._wall.seconds()
        before = [self._before(call, now) for call in calls]
        before.sort(key=lambda call: -call.age)
        self._limits.amounts.remember(before, self._clock.seconds())

    def _before(self, call: CallView, now: float) -> Before:
        dialled = self._trunks.dial(Number(call.phone, call.phone))
        return Before(dialled, call.sip, max(0.0, now - call.date / 1000), call.talk_seconds or 0.0)

    def _refuse_unready(self) -> None:
        # First: Asterisk is not even asked for a session before the journal has begun.
        if self._journal.not_ready:
            raise not_ready(self._journal.not_ready)
        if not self._ready:
            raise no_session()

    async def _status(self, sip: str) -> Status:
        try:
            status = await self._presence.status(sip)
        except AMIError as error:
            raise no_session() from error
        if status is None:
            raise operator_unknown(sip)
        return status

    def _number(
        self,
        sip: str,
        phone: Number,
        order_id: str,
        external_key: str,
        options: CallOptions,
        who: tuple[str, str | None],
    ) -> Call:
        try:
            return self._live.outbound(
                sip,
                phone,
                order_id,
                external_key,
                note=options.note,
                recorded=options.record and self._config.asterisk.record,
                max_duration=options.max_duration,
                made_by=who[0],
                made_from=who[1],
            )
        except NoLease as error:
            raise not_ready(error) from error

    async def _open(self, call: Call, status: Status) -> None:
        """Tell the call; where the operator is unable to take it, its end too."""
        try:
            if status not in UNABLE:
                await self._live.open(call)
                return
            outcome, code, words = UNABLE[status]
            words = words.format(call.sip)
            await self._live.open_unable(call, outcome, words)
        except KeyTaken as error:
            raise _key_used(error.call_id) from error
        except (JournalFull, JournalBroken) as error:
            raise not_ready(error) from error
        raise Refused(code, words, field="sip", call_id=call.call_id)

    async def _originate(self, call: Call, dialled: str, options: CallOptions) -> None:
        asterisk = self._config.asterisk
        sip, phone = call.sip or "", call.phone
        try:
            ring = await self.ring(sip, Context.OUTBOUND)
            await self._ami.originate(
                channel=ring.channel,
                context=ring.context,
                exten=ring.exten,
                priority=1,
                timeout=options.operator_timeout or asterisk.operator_timeout,
                callerid=f'"{shown_name(self._config, call)}" <{phone}>',
                channelid=call.anchor,
                variable={
                    **GOES_NOWHERE,
                    Variable.RECORDING.inherited: self._recording(call),
                    **({Variable.STEREO.inherited: "1"} if asterisk.stereo else {}),
                    ring.own(Variable.DIAL): dialled,
                    Own.TAG: call_tag.write(phone, call.order_id or "", call.external_key or ""),
                    **options.variables(self._config, ring),
                    **ring.variables,
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
                raise no_session(call_id=call.call_id) from error
            # Asterisk may have acted: never sent again, the next look decides by our own id.
            self.log.warn("call_id={call_id}: {error}", call_id=call.call_id, error=error)

    async def ring(self, sip: str, context: Context) -> Ring:
        """How an operator is rung: their phone, or all of them where they have several.

        :param context: where the one that is picked up goes on, at ``s``.
        :raises AMIError: if Asterisk cannot be asked.
        """
        phones = tuple(self._presence.dialled(sip))
        several = len(phones) > 1 or await has_several_contacts(self._ami, phones[0])
        return Ring(phones, context, together=several)

    def _recording(self, call: Call) -> str:
        if not call.recorded:
            return ""
        path = relative_path(call.anchor, call.states[0].date)
        return str(self._config.asterisk.recordings_dir / path)

    def _give_up(self, call: Call, words: str) -> None:
        now = int(self._wall.seconds() * 1000)
        self._live.hear(signals.OriginateRefused(call.anchor, call.anchor, now, words))

    # The session with Asterisk

    def up(self) -> None:
        """Asterisk has been looked at: calls can be made."""
        self._ready = True

    def down(self) -> None:
        """The session is over; live calls go on in Asterisk, new ones are refused."""
        self._ready = False


def shown_name(config: Config, call: Call) -> str:
    """What the operator's phone shows: printable, and nothing that ends the quotes."""
    name = config.asterisk.caller_id_name.replace("{phone}", call.phone)
    # Last, for an order may be called anything, {phone} as well.
    name = name.replace("{order_id}", call.order_id or "")
    return re.sub(r'["<>\\]', "?", name)


def _key_used(call_id: int) -> Refused:
    return Refused(
        Code.EXTERNAL_KEY_USED,
        f"call {call_id} has this external_key; every call needs one of its own",
        field="external_key",
        call_id=call_id,
    )
