"""An Asterisk for fast tests: answers actions from tables, keeps what it was asked.

It speaks messages, not bytes; the real one is in ``tests/integration``.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, fail, succeed

from ccdaemon.ami.ami_actions import AMIActions, Headers
from ccdaemon.ami.ami_errors import ActionRefused
from ccdaemon.ami.ami_wire import Message, MessageKind


def event(name: str, **headers: str) -> Message:
    """An AMI event."""
    return Message(MessageKind.EVENT, name, (("Event", name), *headers.items()))


def response(**headers: str) -> Message:
    """An AMI response that says Success."""
    return Message(MessageKind.RESPONSE, "Success", (("Response", "Success"), *headers.items()))


class FakeAsterisk(AMIActions):
    """Has endpoints, device states, channels; each may be changed by a test.

    :ivar endpoints: configured PJSIP endpoints.
    :ivar extensions: of the dialplan, as DIALPLAN_EXISTS is asked for them.
    :ivar contacts: what PJSIP_DIAL_CONTACTS tells, by endpoint; else one phone is registered.
    :ivar devices: the cache that DeviceStateList tells, by device.
    :ivar peers: what SIPpeers tells.
    :ivar channels: what CoreShowChannels tells.
    :ivar answer: what Originate answers next; an exception makes it fail.
    :ivar asked: every action with its headers.
    :ivar variables: what was set, by channel and name; read again from here.
    :ivar gone: channels that are not there any more.
    :ivar booted_at: when it started, if that is known.
    """

    booted_at: float | None = None

    def __init__(self) -> None:
        self.endpoints: set[str] = set()
        self.extensions: set[str] = set()
        self.contacts: dict[str, str] = {}
        self.devices: dict[str, str] = {}
        self.peers: set[str] = set()
        self.channels: list[Message] = []
        self.answer: Deferred[Message] | Exception | None = None
        self.asked: list[tuple[str, Mapping[str, object]]] = []
        self.trouble: Exception | None = None
        self.variables: dict[tuple[object, str], str] = {}
        self.gone: set[str] = set()

    def sendAction(
        self, name: str, headers: Headers | None = None, *, timeout: float | None = None
    ) -> Deferred[Message]:
        """Answer an action."""
        given = dict(headers or {})
        self.asked.append((name, given))
        if self.trouble is not None:
            return fail(self.trouble)
        if given.get("Channel") in self.gone:
            words = f"{name}: No such channel"
            return fail(ActionRefused(words, response()))
        if name == "Getvar":
            known = self.variables.get((given.get("Channel"), str(given["Variable"])))
            value = self._value(str(given["Variable"])) if known is None else known
            return succeed(response(Value=value))
        if name == "Setvar" and self.answer is None:
            key = given.get("Channel"), str(given["Variable"])
            self.variables[key] = str(given["Value"])
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        return self.answer or succeed(response())

    def sendList(
        self,
        name: str,
        headers: Headers | None = None,
        *,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Deferred[tuple[Message, ...]]:
        """Answer an action with a list."""
        self.asked.append((name, dict(headers or {})))
        if self.trouble is not None:
            return fail(self.trouble)
        lists = {
            "DeviceStateList": [
                event("DeviceStateChange", Device=device, State=state)
                for device, state in self.devices.items()
            ],
            "SIPpeers": [event("PeerEntry", ObjectName=peer) for peer in sorted(self.peers)],
            "CoreShowChannels": self.channels,
        }
        return succeed(tuple(lists[name]))

    def _value(self, variable: str) -> str:
        function, _, rest = variable.partition("(")
        name = rest.rstrip(")")
        if function == "DIALPLAN_EXISTS":
            return str(int(name in self.extensions))
        if function == "PJSIP_DIAL_CONTACTS":
            return self.contacts.get(name, f"PJSIP/{name}/sip:{name}@127.0.0.1:5060")
        if function == "DEVICE_STATE":
            known = name.partition("/")[2] in self.endpoints | self.peers
            return self.devices.get(name) or ("UNAVAILABLE" if known else "INVALID")
        return "default" if name.partition(",")[0] in self.endpoints else ""

    def originated(self) -> list[Mapping[str, object]]:
        """The headers of every Originate."""
        return [headers for name, headers in self.asked if name == "Originate"]
