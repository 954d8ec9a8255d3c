"""SIPp scenarios of what phones do by themselves: register, and call in.

Knows SIP and SIPp's XML; does not run it.
"""

from __future__ import annotations

from lab.scenario import EMPTY, HEAD, OK_IN_DIALOG, WITH_SDP, label, play, received, send, told


def registering() -> str:
    """REGISTER with digest authentication; fields: user, password, Contact, seconds."""
    request = (
        "REGISTER sip:[remote_ip]:[remote_port] SIP/2.0\n"
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\n"
        "From: <sip:[field0]@[remote_ip]>;tag=[pid]-[call_number]\nTo: <sip:[field0]@[remote_ip]>\n"
        "Call-ID: [call_id]\nCSeq: {cseq} REGISTER\nMax-Forwards: 70\nContact: <[field2]>\n"
        "Expires: [field3]\n{auth}Content-Length: 0\n\n"
    )
    authentication = "[authentication username=[field0] password=[field1]]\n"
    return (
        f'{HEAD}<scenario name="register">\n'
        + send(request.format(cseq=1, auth=""), retrans="500")
        + '<recv response="401" auth="true"/>\n'
        + send(request.format(cseq=2, auth=authentication), retrans="500")
        + '<recv response="200"/>\n</scenario>\n'
    )


def calling(
    talk: float, cancel_after: float | None, sound: str | None, password: bool = False
) -> str:
    """A call from a phone: [service] is dialled; fields: number of the caller, the name shown,
    a password, and the number again with an @ behind it, or nothing.

    ``talk``: hangs up so long after the answer. ``cancel_after``: gives up if so long nothing has
    come any more and nobody has answered. ``sound``: what it plays, None for nothing.
    ``password``: Asterisk asks for one.
    """
    cseq = 2 if password else 1
    wait: dict[str, str] = {}
    if cancel_after is not None:
        wait = {"timeout": str(int(cancel_after * 1000)), "ontimeout": "cancel"}
    hang_up = {"timeout": str(int(talk * 1000)), "ontimeout": "hangup", "next": "bye"}
    return (
        f'{HEAD}<scenario name="call">\n'
        '<nop><action><assignstr assign_to="number" value="[service]"/></action></nop>\n'
        + told("dialled", "[field0]")
        + (_challenged() if password else "")
        + send(_first("INVITE", WITH_SDP, cseq=cseq), retrans="500")
        + "".join(received(code, optional="true", **wait) for code in _PROVISIONAL)
        + "".join(
            received(code, "refused", detail=code, optional="true", next="confirm", **wait)
            for code in _REFUSALS
        )
        + received("200", "answered", play(sound) if sound else "", rrs="true", **wait)
        + send(_within("ACK", cseq))
        + received("BYE", "bye", **hang_up)
        + _endings(cseq)
    )


def _challenged() -> str:
    return (
        send(_first("INVITE", WITH_SDP, cseq=1), retrans="500")
        + received("100", optional="true")
        + received("401", auth="true")
        + send(_first("ACK", EMPTY, "[peer_tag_param]", cseq=1))
    )


_PROVISIONAL = ("100", "180", "181", "183")
_REFUSALS = (
    *("401", "403", "404", "408", "480", "484", "486", "488"),
    *("500", "501", "502", "503", "504", "600", "603"),
)


def _first(method: str, body: str, tag: str = "", *, cseq: int) -> str:
    """A request of the INVITE's own transaction, told by its branch."""
    proof = ""
    if method == "INVITE" and cseq > 1:
        proof = "[authentication username=[field0] password=[field2]]\n"
    return (
        f"{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n"
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=z9hG4bK-[pid]-[call_number]-invite"
        f"{cseq}\n"
        'From: "[field1]" <sip:[field3][local_ip]:[local_port]>;tag=[pid]-[call_number]\n'
        f"To: <sip:[service]@[remote_ip]:[remote_port]>{tag}\nCall-ID: [call_id]\n"
        f"CSeq: {cseq} {method}\nMax-Forwards: 70\n{proof}"
        f"Contact: <sip:[field3][local_ip]:[local_port]>\n{body}"
    )


def _within(method: str, cseq: int) -> str:
    """A request within the dialog that the answer has opened."""
    return (
        f"{method} [next_url] SIP/2.0\n"
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\n"
        'From: "[field1]" <sip:[field3][local_ip]:[local_port]>;tag=[pid]-[call_number]\n'
        "To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]\nCall-ID: [call_id]\n"
        f"CSeq: {cseq} {method}\nMax-Forwards: 70\n"
        f"Contact: <sip:[field3][local_ip]:[local_port]>\n{EMPTY}"
    )


def _endings(cseq: int) -> str:
    return (
        label("hangup")
        + told("hangup")
        + send(_within("BYE", cseq + 1), retrans="500")
        + received("BYE", optional="true", next="bye")
        + received("200", next="end")
        + label("bye")
        + OK_IN_DIALOG
        + '<nop next="end"/>\n'
        + label("cancel")
        + told("cancelled")
        + send(_first("CANCEL", EMPTY, cseq=cseq), retrans="500")
        + received("200")
        + received("487")
        + label("confirm")
        + send(_first("ACK", EMPTY, "[peer_tag_param]", cseq=cseq))
        + label("end")
        + "<nop/>\n</scenario>\n"
    )
