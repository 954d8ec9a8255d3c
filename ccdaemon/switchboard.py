"""The switchboard: what a CRM can have done with calls.

Decides whether a call may be made, has it told and has Asterisk begin it. What becomes of it then
is followed elsewhere (``live``). It knows no HTTP.
"""

from __future__ import annotations

import re

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.asterisk.ami_actions import AMIActions
from ccdaemon.asterisk.ami_errors import ActionRefused, AMIError
from ccdaemon.calls import signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.config import Config
from ccdaemon.errors import Code, Refused
from ccdaemon.history.failures import JournalBroken, JournalFull, KeyTaken, NoLease
from ccdaemon.history.journal import Journal
from ccdaemon.live import LiveCalls
from ccdaemon.operators import Status
from ccdaemon.presence import Presence
from ccdaemon.recordings import relative_path

#: Where the dialplan takes over once the operator has picked up.
CONTEXT = "ccdaemon-outbound"
#: Where a phone's call forward ends: a context with nothing to dial.
NOWHERE = "ccdaemon-nowhere"
#: Seconds after which a CRM may try again what could not be done just now.
RETRY_AFTER = 5

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
    :param clock: IReactorTime.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        ami: AMIActions,
        journal: Journal,
        live: LiveCalls,
        presence: Presence,
        clock: IReactorTime,
    ) -> None:
        self._config = config
        self._ami = ami
        self._journal = journal
        self._live = live
        self._presence = presence
        self._clock = clock
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
        if len(self._live) >= self._config.limits.max_calls:
            raise Refused(
                Code.TOO_MANY_CALLS,
                f"{len(self._live)} calls are up, as many as limits.max_calls allows",
                retry_after=RETRY_AFTER,
            )
        if self._live.of_operator(sip) is not None:
            status = Status.INUSE
        call = self._number(sip, phone, order_id, external_key)
        self.log.info(
            "call_id={call_id} sip={sip} asked for by {client}",
            call_id=call.call_id,
            sip=sip,
            client=client,
        )
        await self._open(call, status)
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
        # First: Asterisk is not even asked for a session before the journal has begun.
        if self._journal.not_ready:
            raise _not_ready(self._journal.not_ready)
        if not self._ready:
            raise _unavailable()

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
            return self._live.outbound(sip, phone, order_id, external_key)
        except NoLease as error:
            raise _not_ready(str(error)) from error

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
            raise _not_ready(str(error)) from error
        raise Refused(code, words, field="sip", call_id=call.call_id)

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
        name = self._config.asterisk.caller_id_name.replace("{phone}", call.phone)
        # Last, for an order may be called anything, {phone} as well.
        name = name.replace("{order_id}", call.order_id or "")
        return re.sub(r'["<>\\]', "?", name)

    def _recording(self, call: Call) -> str:
        if not self._config.asterisk.record:
            return ""
        path = relative_path(call.anchor, call.states[0].date)
        return str(self._config.asterisk.recordings_dir / path)

    def _give_up(self, call: Call, words: str) -> None:
        now = int(self._clock.seconds() * 1000)
        self._live.hear(signals.Refused(call.anchor, call.anchor, now, words))

    # The session with Asterisk

    def up(self) -> None:
        """Asterisk has been looked at: calls can be made."""
        self._ready = True

    def down(self) -> None:
        """The session is over; live calls go on in Asterisk, new ones are refused."""
        self._ready = False


def _not_ready(words: str) -> Refused:
    return Refused(Code.NOT_READY, f"not ready: {words}", retry_after=RETRY_AFTER)


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
        retry_after=RETRY_AFTER,
    )
