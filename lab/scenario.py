"""SIPp scenarios, written from the table of behaviours.

Knows SIP and SIPp's XML; does not run it. Each step of a call is a line in SIPp's log file:
seconds|microseconds|event|Call-ID|number dialled|detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isinf
from xml.sax.saxutils import escape, quoteattr

from lab.behaviours import OTHERS, Behaviour

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
#: A phone that rings for ever gives up after this, so that a lost call does not stay for ever.
_FOR_EVER = 900.0
_ANSWER_HEADERS = (
    "[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:];tag=[pid]-[call_number]\n"
    "[last_Call-ID:]\n"
)
_CONTACT = "Contact: <sip:[$number]@[local_ip]:[local_port]>\n"
_SDP = (
    "v=0\no=lab 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n"
    "m=audio [rtpstream_audio_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
)
WITH_SDP = f"Content-Type: application/sdp\nContent-Length: [len]\n\n{_SDP}"
EMPTY = "Content-Length: 0\n\n"


def answering(plan: Mapping[str, Behaviour], sound: str) -> str:
    """The scenario of all phones that are called. ``sound``: a µ-law file as SIPp sees it."""
    ways = (f"{number:02}" for number in range(100))
    table = "".join(f'<nop next="{way if way in plan else OTHERS}"/>\n' for way in ways)
    steps = "".join(_steps(digits, way, sound) for digits, way in plan.items())
    return (
        f'{HEAD}<scenario name="phones">\n'
        '<recv request="OPTIONS" optional="true" next="options"/>\n'
        '<recv request="INVITE" rrs="true"><action>\n'
        '<ereg regexp="sip:([0-9]+)@" search_in="msg" check_it="true" assign_to="_,number"/>\n'
        '<ereg regexp="([0-9][0-9])@" search_in="msg" check_it="true" assign_to="_,last"/>\n'
        '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>\n'
        '<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="cseq"/>\n'
        f"{_log('invite', '[$from]')}</action></recv>\n"
        # A jump goes to the step before that number, counted from 0; the table starts at 3.
        '<nop><action><todouble assign_to="step" variable="last"/>'
        '<add assign_to="step" value="4"/><jump variable="step"/></action></nop>\n'
        f"{table}{steps}{_ENDINGS}"
        '<Reference variables="_,number,last,step,from,cseq,local,remote"/>\n</scenario>\n'
    )


def _log(event: str, detail: str = "") -> str:
    return (
        '<gettimeofday assign_to="s,us"/>'
        f'<log message="[$s]|[$us]|{event}|[call_id]|[$number]|{detail}"/>'
    )


def told(event: str, detail: str = "") -> str:
    """Only ever before a message is sent: between sending and receiving, SIPp loses answers."""
    return f"<nop><action>{_log(event, detail)}</action></nop>\n"


def received(
    what: str, event: str = "", actions: str = "", detail: str = "", **attributes: str
) -> str:
    """What is waited for, and said in the log when it comes. ``next``: where to go then."""
    spelled = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    actions += _log(event, detail) if event else ""
    kind = "response" if what.isdigit() else "request"
    inner = f"><action>{actions}</action></recv>\n" if actions else "/>\n"
    return f'<recv {kind}="{what}"{spelled}{inner}'


def send(text: str, **attributes: str) -> str:
    spelled = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<send{spelled}><![CDATA[\n\n{text}\n]]></send>\n"


def _reply(status: str, more: str = "", body: str = EMPTY, cseq: str = "INVITE") -> str:
    """An answer to the INVITE, whatever came since."""
    line = f"CSeq: [$cseq] {cseq}\n" if cseq == "INVITE" else "[last_CSeq:]\n"
    return f"SIP/2.0 {status}\n{_ANSWER_HEADERS}{line}{more}{body}"


def label(name: str) -> str:
    return f'<label id="{name}"/>\n'


def _steps(digits: str, way: Behaviour, sound: str) -> str:
    if way.deaf:
        return label(digits) + '<pause milliseconds="60000" next="end"/>\n'
    steps = label(digits) + send(_reply("100 Trying")) + _ringing(digits, way)
    if way.refuse is not None:
        return steps + _refusing(way.refuse, way.reason, way.headers)
    return steps + ("" if isinf(way.ring) else _talking(digits, way, sound))


def _ringing(digits: str, way: Behaviour) -> str:
    if way.ring <= 0:
        return ""
    steps = ""
    if way.early:
        steps = told("ringing") + send(_reply("183 Session Progress", _CONTACT, WITH_SDP))
    elif not way.silent:
        steps = told("ringing") + send(_reply("180 Ringing", _CONTACT))
    milliseconds = int(min(way.ring, _FOR_EVER) * 1000)
    after = "end" if isinf(way.ring) else f"{digits}rung"
    waiting = {"timeout": str(milliseconds), "ontimeout": after, "next": "cancelled"}
    steps += received("CANCEL", "cancelled", **waiting)
    return steps + ("" if isinf(way.ring) else label(after))


def _refusing(code: int, reason: str, headers: Mapping[str, str]) -> str:
    more = "".join(f"{name}: {value}\n" for name, value in headers.items())
    after = "again" if code in (401, 407) else "end"
    return (
        told("refused", str(code))
        + send(_reply(f"{code} {reason or _REASONS.get(code, 'Refused')}", more), retrans="500")
        + received("CANCEL", optional="true", next="toolate")
        + received("ACK", next=after)
    )


_REASONS = {
    302: "Moved Temporarily",
    401: "Unauthorized",
    407: "Proxy Authentication Required",
    486: "Busy Here",
    503: "Service Unavailable",
    603: "Decline",
}


def _talking(digits: str, way: Behaviour, sound: str) -> str:
    keep = (
        '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="remote"/>\n'
        '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="local"/>\n'
    )
    if way.sound and not way.vanish:
        keep += play(sound)
    steps = (
        send(_reply("200 OK", _CONTACT, WITH_SDP), retrans="500")
        + received("CANCEL", optional="true", next="crossed")
        + received("ACK", "answered", keep)
    )
    if way.vanish:
        # Not even a BYE is confirmed: what comes again is taken for a repetition.
        return steps + received("BYE", "bye") + '<pause milliseconds="60000" next="end"/>\n'
    if way.talk == inf:
        return steps + received("BYE", "bye", next="bye")
    if way.talk > 0:
        waiting = {"timeout": str(int(way.talk * 1000)), "ontimeout": "hangup", "next": "bye"}
        return steps + received("BYE", "bye", **waiting)
    return steps + '<nop next="hangup"/>\n'


def play(sound: str) -> str:
    return f'<exec rtp_stream="{escape(sound)},-1,0,PCMU/8000"/>'


def _request(method: str, cseq: str) -> str:
    return (
        f"{method} [next_url] SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\n"
        "From:[$local]\nTo:[$remote]\n[last_Call-ID:]\n"
        f"CSeq: {cseq} {method}\nMax-Forwards: 70\n{EMPTY}"
    )


_OK = send(_reply("200 OK", cseq="the last request's"))
# To a BYE or a late CANCEL the tag is in To already.
OK_IN_DIALOG = _OK.replace(";tag=[pid]-[call_number]", "")
_ENDINGS = (
    # The caller gave up while it rang.
    label("cancelled")
    + _OK
    + send(_reply("487 Request Terminated"), retrans="500")
    + received("ACK", next="end")
    # The far side hung up.
    + label("bye")
    + OK_IN_DIALOG
    + '<nop next="end"/>\n'
    # We hang up; the far side may do so in the same moment.
    + label("hangup")
    + told("hangup")
    + send(_request("BYE", "1"), retrans="500")
    + received("BYE", optional="true", next="both")
    + received("481", optional="true", next="end")
    + received("200", next="end")
    + label("both")
    + OK_IN_DIALOG
    + received("481", optional="true", next="end")
    + received("200", next="end")
    # CANCEL and our 200 crossed: the caller confirms and hangs up.
    + label("crossed")
    + _OK
    + received("ACK", "answered")
    + received("BYE", "bye", next="bye")
    # CANCEL and our refusal crossed.
    + label("toolate")
    + _OK
    + received("ACK", next="end")
    # Who was asked for a password may try one; none is right.
    + label("again")
    + received(
        "INVITE",
        actions='<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="cseq"/>',
        timeout="3000",
        ontimeout="end",
    )
    + told("refused", "403")
    + send(_reply("403 Forbidden"), retrans="500")
    + received("ACK", next="end")
    + label("options")
    + _OK
    + label("end")
    + "<nop/>\n"
)
