"""What comes out of SIP is one value: attacks by one operator's account, and by a raw trunk."""

from __future__ import annotations

import re
import socket
from typing import Any

from lab.processes import free_port
from lab.raw_sip import Invite, RawPhone
from lab.stack import SOFT_HOST
from tests.integration.harness import LiveTestCase

#: How a line break, or the end of a text, is spelled in an address.
TALKING = [
    "CALL",
    "OPERATOR_CALLTO",
    "OPERATOR_PICKUP",
    "CLIENT_CALLTO",
    "CLIENT_PICKUP",
]
BREAKS = ("%0A", "%0D%0A", "%00", "%0D")


class ForgingTestCase(LiveTestCase):
    """Phones that say what they like."""

    def setUp(self) -> None:
        """Have one at an operator's address and one at the trunk's."""
        super().setUp()
        server = ("127.0.0.1", self.lab.asterisk.ports.sip)
        self.operator = RawPhone("127.0.0.1", server)
        self.trunk = RawPhone(SOFT_HOST, server)
        self.addCleanup(self.operator.close)
        self.addCleanup(self.trunk.close)

    def dialled_by_hand(self, number: str, **more: Any) -> int:
        """What comes of it when an operator dials."""
        password = self.lab.asterisk.phone_password
        invite = Invite(number, "1058", account="1058", password=password, **more)
        return self.operator.call(invite)

    @property
    def fallback(self) -> int:
        """How often the phone of the fallback was rung."""
        return sum(event.event == "invite" for event in self.lab.operators.events("1059"))


class FastAgiTests(ForgingTestCase):
    """Lines in FastAGI's environment."""

    tables = {
        "routing": {"operators": ["1050"], "blacklist": ["380641111111"]},
        "limits": {"forbidden_prefixes": ["882"]},
    }
    dialplan = {"CC_DIALOUT": "PJSIP/NUMBER@trunk", "CC_FALLBACK": "PJSIP/1059"}

    def test_what_may_not_be_dialled(self) -> None:
        """403 stays 403, whatever stands in the number, in the name or behind it."""
        number = "8821612345600"
        self.assertEqual(self.dialled_by_hand(number), 403)
        forged = ("agi_network_script%3A%20x", "agi_channel%3A%20PJSIP%2F1001-0000001", "", "x")
        for end in BREAKS[:2]:
            for line in forged:
                spoiled = f"{end}{line}"
                diversion = (("Diversion", f"<sip:{number}{spoiled}@x>;reason=unconditional"),)
                found = {
                    "dialled": self.dialled_by_hand(number + spoiled),
                    "Diversion": self.dialled_by_hand(number, extra=diversion),
                    "name": self.dialled_by_hand(number, name=f"x{spoiled}"),
                }
                self.assertEqual(found, dict.fromkeys(found, 403), spoiled)
        for end in BREAKS[2:]:
            self.assertEqual(self.dialled_by_hand(number + end), 403)
        self.assertEqual(self.lab.clients.invites(number), 0)

    def test_a_caller_on_the_blacklist(self) -> None:
        """Is refused, and does not reach the fallback."""
        before = self.fallback
        who, where = "380641111111", "380450000001"
        for end in BREAKS:
            spoiled = f"{end}agi_network_script%3A%20x"
            diversion = (("Diversion", f"<sip:{who}{spoiled}@x>;reason=unconditional"),)
            asserted = (("P-Asserted-Identity", f"<sip:{who}{spoiled}@x>"),)
            # Another number than the one on the list, as the trunk says: the operator is rung.
            self.assertIn(self.trunk.call(Invite(where, who, extra=asserted)), (200, 403))
            found = {
                "DID": self.trunk.call(Invite(where + spoiled, who)),
                "Diversion": self.trunk.call(Invite(where, who, extra=diversion)),
                "name": self.trunk.call(Invite(where, who, name=f"x{spoiled}")),
                "Contact": self.trunk.call(Invite(where, who, contact=f"x{spoiled}")),
            }
            self.assertEqual(found, dict.fromkeys(found, 403), spoiled)
        self.assertEqual(self.fallback, before)

    def test_a_daemon_that_is_not_there(self) -> None:
        """Is told apart from one that refuses: what the administrator allows is dialled then."""
        number = "380660000134"
        self.set_globals(CC_AGI=f"127.0.0.1:{free_port(socket.SOCK_STREAM)}")
        self.assertEqual(self.dialled_by_hand(f"{number}"), 200)
        self.set_globals(CC_AGI=f"{self.daemon.agi}/no-such")
        self.assertEqual(self.dialled_by_hand(f"{number}"), 403)


class FastAgi16Tests(FastAgiTests):
    """The same with chan_sip."""

    suite = "bullseye"
    flavour = "chan_sip"


class EventTests(ForgingTestCase):
    """Events and rows of the channel log."""

    tables = {
        "routing": {"operators": ["1050"]},
        "clients": [  # type: ignore[dict-item]
            {"name": "crm", "networks": ["127.0.0.0/8"], "permissions": ["call", "read", "hangup"]}
        ],
    }
    # The log has no row of a caller whose own number ends its lines.
    tells_again = False

    async def test_forged(self) -> None:
        """Nobody goes offline, nothing ends, no call appears, and the session stands."""
        technology = self.lab.asterisk.operator_channel.partition("/")[0]
        call_id = await self.make_call("1041", "380660000100")

        async def talks() -> bool:
            return (await self.chain(call_id))[-1] == "CLIENT_PICKUP"

        await self.wait_for(talks, 10.0, "the talk")
        shown = self.lab.asterisk.rx("core show channels concise")
        [channel] = re.findall(rf"cc-\w+-{call_id}-o", shown)[:1]
        for end in ("%0D%0A", "%0A", "%0D%0A%00"):
            two = end + end
            for words in (
                f"{two}Event:%20Hangup{end}Uniqueid:%20{channel}{end}Cause:%2016{two}",
                f"{end}Uniqueid:%20{channel}{end}Linkedid:%20{channel}",
                f"{two}Event:%20DeviceStateChange{end}Device:%20{technology}%2F1041"
                f"{end}State:%20UNAVAILABLE{two}",
                f"{two}Event:%20Newchannel{end}Uniqueid:%2077.7{end}Channel:%20x{two}",
                two,
                f"{end}HANGUP,1796052086.5,{channel},{channel},x,,,,,,,,,,{end}",
                f'{end}"HANGUP","1796052086.5","{channel}"{end}',
            ):
                spelled = words.replace(":%20", "%3A%20").replace('"', "%22").replace(",", "%2C")
                asserted = (("P-Asserted-Identity", f"<sip:380641234567{spelled}@x>"),)
                self.trunk.call(Invite("380450000001", f"380641234567{spelled}"), ring=0.0)
                self.trunk.call(Invite(f"380450000001{spelled}", "380641234568"), ring=0.0)
                self.trunk.call(Invite("380450000001", "380641234569", extra=asserted), ring=0.0)

        def is_said() -> bool:
            return "a phone has written into them" in self.daemon.tail(400)

        await self.wait_for(is_said, 10.0, "a line that says so")
        await self.sleep(1.0)
        self.assertEqual(await self.chain(call_id), TALKING)
        [operator] = [
            each
            for each in (await self.ask("sipList", per_page=1000))["data"]
            if each["sip"] == "1041"
        ]
        self.assertEqual((operator["status"], operator["call_id"]), ("inuse", call_id))
        _, _, body = await self.request("/metrics")
        found = dict(re.findall(r"^(ccdaemon_\w+) (\S+)$", body.decode(), re.MULTILINE))
        self.assertGreater(float(found["ccdaemon_ami_forged_total"]), 3)
        self.assertEqual(float(found["ccdaemon_ami_sessions_total"]), 1)
        self.assertEqual(float(found["ccdaemon_ami_garbage_total"]), 0)
        await self.ask("hangup", call_id=call_id)
        self.assertEqual((await self.finished(call_id))[-1]["state"], "FINISH")


class Event16Tests(EventTests):
    """The same with chan_sip."""

    suite = "bullseye"
    flavour = "chan_sip"
