"""Calls between phones that can tell whom they hear.

Every phone has a voice of its own, a tone; what each phone receives says who was heard in it. Knows
how to make such a call and how to listen at a phone; what should be heard is not known here.
"""

from __future__ import annotations

import time
import wave
from array import array
from collections.abc import Mapping
from typing import Any

from lab.audio import tone, tones_in
from lab.softphones import Line, Manner, Softphones, heard, strange
from lab.stack import SOFT_TRUNK
from tests.integration.harness import LiveTestCase

#: Three operators' phones, the client's, and one more outside.
OPERATOR, SECOND, SUPERVISOR = "1250", "1251", "1252"
CLIENT, OUTSIDE = "380671112233", "380671112244"
#: Who is who by their voice, in hertz; 300 is the lab's music on hold.
VOICES = {
    500: "operator",
    700: "second",
    1700: "supervisor",
    1100: "client",
    1300: "outside",
    300: "music",
}
_HERTZ = {
    OPERATOR: 500,
    SECOND: 700,
    SUPERVISOR: 1700,
    CLIENT: 1100,
    OUTSIDE: 1300,
}
#: Seconds that Asterisk has to change who is heard, and for which is listened then.
SETTLE, LISTEN = 0.4, 0.8
#: Seconds that no tone is shorter than.
BEEP = 0.1
#: Everything that a client may be let do.
ALL = (
    *("call", "read", "hangup", "transfer", "hold", "mute", "listen", "whisper", "barge", "record"),
    "audit",
)


class HearingCase(LiveTestCase):
    """A test with phones that are played by hand."""

    with_others = True

    tables = {
        "asterisk": {"operator_timeout": 6, "client_timeout": 6},
        "clients": [{"name": "crm", "networks": ["127.0.0.0/8"], "permissions": ALL}],  # type: ignore[dict-item]
    }

    def setUp(self) -> None:
        """Have the phones register in the place of those that answer by a plan."""
        super().setUp()
        for number in (OPERATOR, SECOND, SUPERVISOR):
            self.phone(number)
            self.operators.register(number, self.lab.asterisk.phone_password)
        for number in (CLIENT, OUTSIDE):
            self.phone(number)
        self.addCleanup(self.lab.register, (OPERATOR, SECOND, SUPERVISOR))
        self.addCleanup(self._put_down)

    def new_daemon(self, **tables: Mapping[str, Any]) -> Any:
        """A daemon that calls clients by the trunk to the phones here."""
        channel = self.lab.asterisk.client_channel.replace("@trunk", f"@{SOFT_TRUNK}")
        asterisk = {"client_channel": channel, **tables.pop("asterisk", {})}
        return super().new_daemon(asterisk=asterisk, **tables)

    @property
    def operators(self) -> Softphones:
        """The operators' phones."""
        return self.lab.soft_operators

    @property
    def clients(self) -> Softphones:
        """The phones outside."""
        return self.lab.soft_clients

    def phone(self, number: str, manner: Manner = "answers") -> None:
        """Let a phone behave so from now on."""
        phones = self.operators if number in (OPERATOR, SECOND, SUPERVISOR) else self.clients
        phones.add(number, _HERTZ[number], manner)

    def of(self, number: str) -> Line:
        """The newest call of a phone."""
        phones = self.operators if number in (OPERATOR, SECOND, SUPERVISOR) else self.clients
        return phones.of(number)[-1]

    def rung(self, number: str) -> int:
        """How many times a phone was rung or rang somebody."""
        phones = self.operators if number in (OPERATOR, SECOND, SUPERVISOR) else self.clients
        return len(phones.of(number))

    async def is_up(self, number: str, times: int = 1) -> Line:
        """Wait until a phone talks, in its call number ``times``."""

        return await self._line(number, times, "up")

    async def rings(self, number: str, times: int = 1) -> Line:
        """Wait until a phone rings, in its call number ``times``."""

        return await self._line(number, times, "ringing")

    async def _line(self, number: str, times: int, state: str) -> Line:
        def so() -> bool:
            return self.rung(number) >= times and self.of(number).state == state

        await self.wait_for(so, 10, f"{number} is {state}, in its call {times}")
        return self.of(number)

    async def is_over(self, line: Line) -> None:
        """Wait until a call at a phone is over."""
        await self.wait_for(lambda: line.state == "over", 10, f"{line.phone.number} is put down")

    async def talk(self, **parameters: object) -> int:
        """The operator talks with the client; the call's number."""
        call_id = await self.make_call(OPERATOR, CLIENT, **parameters)
        await self.is_up(CLIENT)
        await self.told(call_id, "CLIENT_PICKUP")
        return call_id

    async def told(self, call_id: int, state: str, times: int = 1) -> None:
        """Wait until a state has been told of a call."""

        chain: list[str] = []

        async def so() -> bool:
            chain[:] = await self.chain(call_id)
            return chain.count(state) >= times

        try:
            await self.wait_for(so, 10, f"{state} of call {call_id}")
        except AssertionError as error:
            raise AssertionError(f"{error}; there is {chain}") from None

    async def hears(self, *numbers: str) -> tuple[set[str], ...]:
        """Who is heard at each of these phones from now on, by name."""
        await self.sleep(SETTLE)
        begin = time.time()
        await self.sleep(LISTEN)
        return tuple(
            {VOICES[hertz] for hertz in heard(self.of(number), VOICES, begin, begin + LISTEN)}
            for number in numbers
        )

    def no_tone(self, since: float, *numbers: str) -> None:
        """See that at none of these phones anything but voices was heard."""
        for number in numbers:
            seconds = strange(self.of(number), VOICES, since, time.time())
            self.assertLess(seconds, BEEP, f"{number} heard something that is nobody's voice")

    async def refused(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask for what has to be refused; the error."""
        envelope = await self.api(method, **parameters)
        self.assertEqual(envelope["status"], "error", envelope)
        error: dict[str, Any] = envelope["error"]
        return error

    async def wrong_state(self, method: str, state: str, **parameters: object) -> None:
        """Ask for what cannot be done just now."""
        envelope = await self.api(method, **parameters)
        error = envelope.get("error", {})
        told = (envelope["status_code"], error.get("code"), error.get("state"))
        self.assertEqual(told, (409, "wrong_state", state), (method, envelope))

    async def recorded(self, call_id: int) -> dict[str, Any]:
        """Wait for the recording of a call that is over."""

        async def found() -> dict[str, Any]:
            records = (await self.ask("recordList", per_page=1000))["data"]
            return next((one for one in records if one["call_id"] == call_id), {})

        return await self.wait_for(found, 20, f"the recording of call {call_id}")

    def in_file(
        self, record: Mapping[str, Any], begin: float, end: float, channel: int = 0
    ) -> set[str]:
        """Who is heard in a recording between two moments, in its seconds."""
        with wave.open(str(self.lab.asterisk.recordings_on_host / record["path"])) as file:
            count, rate = file.getnchannels(), file.getframerate()
            samples = array("h", file.readframes(file.getnframes()))[channel::count]
        part = samples[int(begin * rate) : int(end * rate)]
        blocks = tones_in(part, VOICES)
        return {
            name
            for hertz, name in VOICES.items()
            if sum(hertz in block for block in blocks) > len(blocks) / 2
        }

    def announce(self) -> None:
        """Have recordings announced by a tone, the voice of the phone outside."""
        sounds = self.lab.asterisk.recordings_on_host.parent / "announce.ulaw"
        sounds.write_bytes(tone(_HERTZ[OUTSIDE], 1.5))
        inside = self.lab.asterisk.recordings_as_asterisk_sees.parent / "announce"
        self.daemon.stop()
        self.daemon.configure(asterisk={"announce": str(inside)})
        self.addCleanup(self._announce_nothing)
        self.daemon.start()

    def _announce_nothing(self) -> None:
        self.daemon.stop()
        self.daemon.configure(asterisk={"announce": ""})
        self.daemon.start()

    async def words(self, call_id: int) -> str:
        """Every detail of a call's chain."""
        states = await self.states(call_id)
        return "; ".join(state["detail"] or "" for state in states)

    def _put_down(self) -> None:
        for phones in (self.operators, self.clients):
            phones.hang_up_all()
            phones.lines.clear()


class InboundHearingCase(HearingCase):
    """The same for calls that the client begins; operator 1250 takes them."""

    tables = {**HearingCase.tables, "routing": {"operators": [OPERATOR], "ring_timeout": 6}}

    async def incoming(self) -> int:
        """Client and operator talk; the call's number."""
        self.clients.call(CLIENT, "380440000000")
        await self.is_up(OPERATOR)
        await self.is_up(CLIENT)
        [state] = await self.ask("callHistory", per_page=1)
        call_id: int = state["call_id"]
        await self.told(call_id, "OPERATOR_PICKUP")
        return call_id

    async def records(self, call_id: int, count: int) -> list[dict[str, Any]]:
        """Wait for the recordings of a call; in the order in which their phones were rung."""

        async def found() -> list[dict[str, Any]]:
            records: list[dict[str, Any]] = (await self.ask("call", call_id=call_id))["records"]
            return records if len(records) == count else []

        records = await self.wait_for(found, 20, f"{count} recordings of call {call_id}")
        return sorted(records, key=lambda one: [int(n) for n in one["uniqueid"].split(".")])
