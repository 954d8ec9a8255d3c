"""Who asks by FastAGI: the secret, and whether Asterisk has the channel, on 22 and 16."""

from __future__ import annotations

import socket

from twisted.internet.threads import deferToThread

from tests.integration.harness import LiveTestCase, on_16

#: What is heard of a question that counts.
ANSWERED = b"SET VARIABLE "


@on_16()
class StrangerTests(LiveTestCase):
    """A program on this machine that talks to the daemon as Asterisk does."""

    # What is asked here by hand has no other trace.
    tells_again = False

    def says(self, script: str, channel: str, name: str, *arguments: str) -> bytes:
        """Ask, and give what comes back before the link is closed or something is wanted."""
        lines = [
            "agi_network: yes",
            f"agi_network_script: {script}",
            f"agi_channel: {name}",
            f"agi_uniqueid: {channel}",
            *(f"agi_arg_{n}: {each}" for n, each in enumerate(arguments, 1)),
        ]
        host, _, port = self.daemon.agi.partition("/")[0].partition(":")
        with socket.create_connection((host, int(port)), 5) as made:
            made.sendall("\n".join([*lines, "", ""]).encode())
            return made.recv(1000)

    async def test_what_it_asks_counts_for_nothing(self) -> None:
        """Without the secret, and for a channel that there is not: no answer, and no call."""
        secret = self.daemon.agi.partition("/")[2]
        before = (await self.api("callHistory"))["total"]
        nobody = ("1795467600.77", "PJSIP/1000-00000077")
        for script in ("incoming", "dialout", f"{secret}x/dialout", f"{secret}/dialout"):
            heard = await deferToThread(self.says, script, *nobody, "380631234567")
            self.assertEqual(heard, b"", script)
        heard = await deferToThread(self.says, f"{secret}/incoming", *nobody, "380631234567", "")
        self.assertEqual(heard, b"")
        self.assertEqual((await self.api("callHistory"))["total"], before)
        self.assertIn("somebody asks without the secret", self.daemon.log.read_text())
        self.assertNotIn(secret, self.daemon.log.read_text())

    async def test_a_channel_that_nobody_has_told_of(self) -> None:
        """Asterisk is asked for it: it is there by its own name, and by no other."""
        secret = self.daemon.agi.partition("/")[2]
        kind = "PJSIP" if self.lab.asterisk.flavour == "pjsip" else "SIP"
        self.lab.asterisk.rx(f"channel originate {kind}/1050 application Wait 5")

        async def born() -> list[str]:
            shown = self.lab.asterisk.rx("core show channels concise").splitlines()
            return [line for line in shown if line.startswith(f"{kind}/1050-")]

        [line] = await self.wait_for(born, 10, "a channel")
        name, *_, channel = line.strip().split("!")
        heard = await deferToThread(
            self.says, f"{secret}/dialout", channel, f"{kind}/1000-00000077", "380631234567"
        )
        self.assertEqual(heard, b"")
        heard = await deferToThread(self.says, f"{secret}/dialout", channel, name, "380631234567")
        self.assertTrue(heard.startswith(ANSWERED), heard)
