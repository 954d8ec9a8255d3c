"""Live tests of talks in which one party was not heard: they are marked, and no others are."""

from __future__ import annotations

from typing import Any

from ccdaemon.calls.signals import Noted
from ccdaemon.pbx import cel_signals
from tests.integration.calling_in import CallingInTestCase
from tests.integration.test_health import HealthCase

WORDS = ("no sound from the client", "no sound from the operator")


class SoundCase(HealthCase):
    """Talks with phones that send sound, and with phones that send none."""

    async def end_of(
        self, sip: str, phone: str, talk: float | None = None, **options: object
    ) -> dict[str, Any]:
        """Make a call to its end; its final state. Asterisk's own log says the same of sound.

        ``talk``: seconds after which both are hung up; None: a phone hangs up.
        """
        log = self.lab.asterisk.cel_file_on_host
        before = len(log.read_text().splitlines()) if log.exists() else 0
        call_id = await self.make_call(sip, phone, **options)
        if talk is not None:
            await self.wait_for(lambda: self.talking(call_id), 10, f"the talk of call {call_id}")
            await self.sleep(talk)
            self.lab.asterisk.rx("channel request hangup all")
        states = await self.finished(call_id, 30)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.sleep(0.5)
        lines = log.read_text().splitlines(keepends=True)[before:]
        noted = [signal for signal in cel_signals.from_rows(lines) if isinstance(signal, Noted)]
        of_call = {one.words for one in noted if one.linkedid.endswith(f"-{call_id}-o")}
        self.assertEqual({words for words in WORDS if words in states[-1]["detail"]}, of_call)
        return states[-1]

    async def talking(self, call_id: int) -> bool:
        """Whether the client has picked up."""
        return "CLIENT_PICKUP" in await self.chain(call_id)

    async def test_the_client_is_silent(self) -> None:
        """Not one packet of the client's sound: the talk's end says so."""
        end = await self.end_of("1101", "380630000036")
        self.assertIn("no sound from the client", end["detail"])
        self.assertNotIn("no sound from the operator", end["detail"])

    async def test_the_operator_is_silent(self) -> None:
        """The same of the operator."""
        name = 'ccdaemon_talks_without_sound_total{direction="outbound",party="operator"}'
        before = (await self.numbers()).get(name, 0)
        end = await self.end_of("1136", "380630000001")
        self.assertIn("no sound from the operator", end["detail"])
        self.assertNotIn("no sound from the client", end["detail"])
        self.assertEqual((await self.numbers())[name], before + 1)

    async def test_both_are_heard(self) -> None:
        """Nothing is said of a talk as it should be, nor of one that was over in a moment."""
        for phone in ("380630000001", "380630000018"):
            end = await self.end_of("1140", phone)
            self.assertNotIn("no sound", end["detail"])

    async def test_both_are_silent(self) -> None:
        """Where nobody is sent anything the talk's length tells: of each of them it is said."""
        end = await self.end_of("1236", "380630000036", talk=3.5)
        for words in WORDS:
            self.assertIn(words, end["detail"])

    async def test_both_are_silent_for_a_moment(self) -> None:
        """Nothing is said of two phones that had no time to speak."""
        end = await self.end_of("1236", "380630000036", talk=1.0)
        self.assertNotIn("no sound", end["detail"])


class ByPJSIP(SoundCase):
    """On Asterisk 22."""

    async def test_both_are_silent_and_not_recorded(self) -> None:
        """Sound of these endpoints cannot go past Asterisk: it is said all the same."""
        end = await self.end_of("1236", "380630000036", talk=3.5, record=0)
        for words in WORDS:
            self.assertIn(words, end["detail"])


class ByChanSip(SoundCase):
    """On Asterisk 16 with chan_sip."""

    suite = "bullseye"
    flavour = "chan_sip"


class Inbound(CallingInTestCase):
    """A client who calls in, and an operator whose phone sends nothing."""

    tables = {"routing": {"operators": ["1136"], "ring_timeout": 5}}

    async def test_the_operator_is_silent(self) -> None:
        """The end of the talk says so; of the client, who was heard, it says nothing."""
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=2.0)
        call = await self.over(await self.call_of(caller))
        self.assertEqual(call["states"][-1]["state"], "FINISH")
        self.assertIn("no sound from the operator", call["detail"])
        self.assertNotIn("no sound from the client", call["detail"])

    async def test_both_are_silent(self) -> None:
        """The talk's length tells, as it does of a call that is made."""
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=3.5, sound=False)
        call = await self.over(await self.call_of(caller))
        self.assertEqual(call["states"][-1]["state"], "FINISH")
        for words in WORDS:
            self.assertIn(words, call["detail"])


del HealthCase, SoundCase
