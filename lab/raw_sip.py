"""INVITEs that say what no phone of good will says: whatever a test puts into them.

Knows one socket and one call at a time, and waits for what comes of it; what should come of it is
not known here.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from lab import sip_messages
from lab.sip_messages import Address, SipMessage

#: Seconds until an answer that is none is taken for silence.
WAIT = 8.0


@dataclass(frozen=True)
class Invite:
    """What one INVITE says: users of the addresses are sent as they are, escapes and all.

    ``extra``: headers behind the others. ``account``: the operator whose password is known.
    """

    dialled: str
    caller: str
    name: str = ""
    contact: str = "x"
    extra: tuple[tuple[str, str], ...] = ()
    account: str = ""
    password: str = ""


class RawPhone:
    """One address from which anything is sent."""

    def __init__(self, host: str, server: Address) -> None:
        self._server = server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.settimeout(0.2)
        host, port = self._socket.getsockname()
        self._here = f"{host}:{port}"

    def close(self) -> None:
        """Let the address go."""
        self._socket.close()

    def call(self, invite: Invite, ring: float = WAIT) -> int:
        """The status that the call ends with; a call that is answered is hung up, and is 200.

        :param ring: seconds after which it is given up, as 487.
        """
        target = f"sip:{invite.dialled}@{self._server[0]}:{self._server[1]}"
        call_id, tag = f"{secrets.token_hex(8)}@raw", secrets.token_hex(4)
        shown = f'"{invite.name}" ' if invite.name else ""
        sender = f"{shown}<sip:{invite.caller}@{self._here}>;tag={tag}"
        headers = [
            ("From", sender),
            ("To", f"<{target}>"),
            ("Call-ID", call_id),
            ("Max-Forwards", "70"),
            ("Contact", f"<sip:{invite.contact}@{self._here}>"),
            *invite.extra,
        ]
        answer = self._invite(target, headers, "1", ring)
        if answer.status in (401, 407):
            challenge = answer.get("www-authenticate") or answer.get("proxy-authenticate")
            account = invite.account, invite.password
            proof = sip_messages.credentials(challenge, *account, target, "INVITE")
            name = "Authorization" if answer.status == 401 else "Proxy-Authorization"
            answer = self._invite(target, [*headers, (name, proof)], "2", ring)
        assert answer.status is not None
        return answer.status

    def _invite(
        self, target: str, headers: list[tuple[str, str]], cseq: str, ring: float
    ) -> SipMessage:
        via = ("Via", f"SIP/2.0/UDP {self._here};branch=z9hG4bK{secrets.token_hex(6)}")
        body = sip_messages.sdp(self._here.partition(":")[0], 9)
        self._send("INVITE", target, [via, *headers, ("CSeq", f"{cseq} INVITE")], body)
        given_up, end = time.monotonic() + ring, time.monotonic() + ring + WAIT
        answer = SipMessage("SIP/2.0 408 silence", (), "")
        while time.monotonic() < end:
            answer = self._answer(headers, cseq) or answer
            status = answer.status or 0
            if status >= 200 and answer.headers:
                break
            if time.monotonic() > given_up:
                self._send("CANCEL", target, [via, *headers, ("CSeq", f"{cseq} CANCEL")])
                given_up = end
        to = [
            ("To", answer.get("to")) if name == "To" else (name, value) for name, value in headers
        ]
        if answer.status == 200:
            branch = ("Via", via[1] + "a")
            reached = sip_messages.address_in(answer.get("contact")) or target
            self._send("ACK", reached, [branch, *to, ("CSeq", f"{cseq} ACK")])
            bye = ("Via", via[1] + "b")
            self._send("BYE", reached, [bye, *to, ("CSeq", f"{int(cseq) + 1} BYE")])
        elif answer.headers:
            self._send("ACK", target, [via, *to, ("CSeq", f"{cseq} ACK")])
        return answer

    def _send(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: str = ""
    ) -> None:
        data = sip_messages.render(f"{method} {target} SIP/2.0", headers, body)
        self._socket.sendto(data, self._server)

    def _answer(self, headers: list[tuple[str, str]], cseq: str) -> SipMessage | None:
        try:
            message = sip_messages.parse(self._socket.recv(65535))
        except TimeoutError:
            return None
        if message is None or message.status is None:
            return None
        is_ours = message.get("call-id") == dict(headers)["Call-ID"]
        return message if is_ours and message.get("cseq") == f"{cseq} INVITE" else None
