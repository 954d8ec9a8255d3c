"""The methods that act on live calls: who may ask, with what, and what comes back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.clients import Permission
from ccdaemon.calls.model import State
from ccdaemon.config import LOCAL, Client
from ccdaemon.errors import Code, Refused
from ccdaemon.switchboard.call_control import Mode, Party
from tests.api.parts import call_view
from tests.api.world import CONTROLLING, World

#: What each method needs beside the call, and what the control is asked for then.
ASKED: dict[str, tuple[str, tuple[object, ...]]] = {
    "hangup": ("", ("hangup", 12, "crm")),
    "transfer": ("&sip=1001", ("transfer", 12, "1001", None, Mode.BLIND, "crm")),
    "transferComplete": ("", ("transfer_complete", 12, "crm")),
    "transferCancel": ("", ("transfer_cancel", 12, "crm")),
    "hold": ("", ("hold", 12, "crm")),
    "unhold": ("", ("unhold", 12, "crm")),
    "mute": ("&who=client", ("mute", 12, Party.CLIENT, True, "crm")),
    "unmute": ("&who=operator", ("mute", 12, Party.OPERATOR, False, "crm")),
    "listen": ("&sip=1001", ("listen", 12, "1001", "crm")),
    "whisper": ("&sip=1001", ("whisper", 12, "1001", "crm")),
    "barge": ("&sip=1001", ("barge", 12, "1001", "crm")),
    "recordPause": ("", ("pause_recording", 12, True, "crm")),
    "recordResume": ("", ("pause_recording", 12, False, "crm")),
}


def world(*permissions: str) -> World:
    """A world with a live call, where the client may do this."""
    client = Client(name="crm", networks=LOCAL.networks, permissions=permissions)
    made = World([client])
    made.history.add(call_view(12), [State.CALL, State.OPERATOR_CALLTO])
    return made


class ControllingTests(SynchronousTestCase):
    """Each of them."""

    def test_what_is_asked_for(self) -> None:
        """The control does it; the answer is the call as it is then."""
        everything = world(*(each.value for each in Permission))
        call = everything.ask("/api/call.json?call_id=12").json
        self.assertEqual({method.name for method in CONTROLLING}, set(ASKED))
        for name, (more, asked) in ASKED.items():
            reply = everything.ask(f"/api/{name}.json?call_id=12{more}")
            self.assertEqual(reply.json, call, name)
            self.assertEqual(everything.control.asked.pop(), asked)

    def test_each_needs_its_permission(self) -> None:
        """And no other one is enough."""
        for method in CONTROLLING:
            more, _ = ASKED[method.name]
            path = f"/api/{method.name}.json?call_id=12{more}"
            others = [each.value for each in Permission if each is not method.permission]
            reply = world(*others).ask(path)
            self.assertEqual((reply.status, reply.json["error"]["code"]), (403, "forbidden"))
            # What it answers with needs no more than this.
            self.assertEqual(world(method.permission.value).ask(path).status, 200)

    def test_nobody_has_them_unless_named(self) -> None:
        """Not who is on this machine, and not a client without a list."""
        for clients in ([LOCAL], [Client(name="crm", networks=LOCAL.networks)]):
            for name, (more, _) in ASKED.items():
                reply = World(clients).ask(f"/api/{name}.json?call_id=12{more}")
                self.assertEqual(reply.status, 403, name)

    def test_wrong_state(self) -> None:
        """409 with the state that was found, in JSON and in XML."""
        made = world("hold")
        made.control.refusal = Refused(
            Code.WRONG_STATE, "the call is ringing", call_id=12, state="OPERATOR_CALLTO"
        )
        reply = made.ask("/api/hold.json?call_id=12")
        self.assertEqual(reply.status, 409)
        self.assertEqual(
            reply.json["error"],
            {
                "code": "wrong_state",
                "message": "the call is ringing",
                "call_id": 12,
                "state": "OPERATOR_CALLTO",
            },
        )
        self.assertIn(b"<state>OPERATOR_CALLTO</state>", made.ask("/api/hold.xml?call_id=12").body)

    def test_where_to(self) -> None:
        """A transfer goes to an operator or to a phone, not to both and not nowhere."""
        made = world("transfer")
        for more, code in (
            ("", "missing_parameter"),
            ("&sip=1001&phone=380501110000", "bad_parameter"),
            ("&sip=1001&mode=warm", "bad_parameter"),
            ("&phone=abc", "bad_parameter"),
        ):
            reply = made.ask(f"/api/transfer.json?call_id=12{more}")
            self.assertEqual((reply.status, reply.json["error"]["code"]), (400, code), more)
        self.assertEqual(made.control.asked, [])
        made.ask("/api/transfer.json?call_id=12&phone=%2B380501110000&mode=attended")
        asked = ("transfer", 12, None, "380501110000", Mode.ATTENDED, "crm")
        self.assertEqual(made.control.asked, [asked])
