"""Wherever a talk is recorded the client hears so first, if it is to be announced."""

from __future__ import annotations

import socket

from lab.audio import tone
from lab.processes import free_port
from lab.stack import SOFT_TRUNK
from tests.integration.calling_in import TALK
from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, SECOND, HearingCase

DID = "380440000000"


class AnnouncedCase(HearingCase):
    """The announcement is a tone, which stands in for the voice of the phone outside."""

    async def call_in(self) -> int:
        """Call, and hear the announcement before anybody's phone rings; the call's number."""
        self.clients.call(CLIENT, DID)
        await self.is_announced()
        [state] = await self.ask("callHistory", per_page=1)
        call_id: int = state["call_id"]
        return call_id

    async def is_announced(self) -> None:
        """The client is up, and hears the announcement alone."""
        await self.is_up(CLIENT)
        self.assertEqual(await self.hears(CLIENT), ({"outside"},))


@on_16(nightly=True)
class QueueTests(AnnouncedCase):
    """Clients in a queue."""

    tables = {**HearingCase.tables, "routing": {"queue": "sales"}}

    async def test_queue(self) -> None:
        """Before the client waits."""
        self.announce()
        call_id = await self.call_in()
        self.assertEqual(await self.chain(call_id), ["CALL"])
        await self.told(call_id, "OPERATOR_PICKUP")
        [heard] = await self.hears(CLIENT)
        self.assertNotIn("outside", heard)


class FallbackAfterListTests(AnnouncedCase):
    """Nobody of the list answers: the fallback has the client."""

    tables = {**HearingCase.tables, "routing": {"operators": [OPERATOR], "ring_timeout": 2}}
    dialplan = {"CC_FALLBACK": f"PJSIP/{SECOND}"}

    async def test_once(self) -> None:
        """Whoever is rung, the client hears it once."""
        self.announce()
        self.phone(OPERATOR, "rings")
        call_id = await self.call_in()
        await self.told(call_id, "OPERATOR_NOANSWER")
        [heard] = await self.hears(CLIENT)
        self.assertNotIn("outside", heard)
        await self.is_up(SECOND)


class DialledTests(AnnouncedCase):
    """An operator dials by hand."""

    async def test_dialled(self) -> None:
        """The client hears it when they have answered, and then the operator."""
        self.announce()
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(CLIENT, "1040", password=password, talk=5.0)
        await self.is_announced()
        await self.sleep(1.0)
        [heard] = await self.hears(CLIENT)
        self.assertNotIn("outside", heard)


@on_16(nightly=True)
class SilentDaemonTests(AnnouncedCase):
    """The daemon cannot be asked: the dialplan's own setting counts."""

    def set_silent(self, **values: str) -> None:
        """Have nobody be asked."""
        asterisk = self.lab.asterisk
        (asterisk.recordings_on_host.parent / "own.ulaw").write_bytes(tone(1300, 1.5))
        self.set_globals(
            CC_AGI=f"127.0.0.1:{free_port(socket.SOCK_STREAM)}",
            CC_ANNOUNCEMENT=str(asterisk.recordings_as_asterisk_sees.parent / "own"),
            **values,
        )

    def folder(self) -> str:
        """Where talks are recorded."""
        return str(self.lab.asterisk.recordings_as_asterisk_sees)

    async def test_fallback(self) -> None:
        """Before the fallback's phone rings."""
        self.set_silent(CC_FALLBACK=f"PJSIP/{OPERATOR}", CC_RECORDINGS=self.folder())
        await self.call_in()
        await self.is_up(OPERATOR)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def test_fallback_that_is_not_recorded(self) -> None:
        """Nothing is announced where nothing is recorded."""
        self.set_silent(CC_FALLBACK=f"PJSIP/{OPERATOR}")
        line = self.clients.call(CLIENT, DID)
        await self.is_up(OPERATOR)
        await self.is_up(CLIENT)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.clients.hang_up(line)
        [state] = await self.ask("callHistory", per_page=1)
        told = await self.finished(state["call_id"])
        self.assertEqual([each["state"] for each in told], TALK)

    async def test_dialled(self) -> None:
        """A number that is dialled by hand."""
        trunk = self.lab.asterisk.client_channel.replace("{phone}@trunk", f"NUMBER@{SOFT_TRUNK}")
        self.set_silent(CC_DIALOUT=trunk, CC_RECORDINGS=self.folder())
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(CLIENT, "1040", password=password, talk=5.0)
        await self.is_announced()
