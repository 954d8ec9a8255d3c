"""How a call looks at one moment: its seconds, its legs, and what is told of it with a state.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from ccdaemon.calls.call import Call, talks
from ccdaemon.calls.leg import Leg
from ccdaemon.calls.model import CallView, Direction, LegView, State
from ccdaemon.calls.tables import TALK, WAIT


def seconds(call: Call, ended: int | None) -> tuple[float | None, float | None, float | None]:
    """Ring, wait and talk seconds, each up to ``ended`` if it had begun and not ended before."""

    def span(begin: State, end: State) -> float | None:
        begun = call.date_of(begin)
        over = call.date_of(end)
        over = ended if over is None else over
        return None if begun is None or over is None else (over - begun) / 1000

    return (
        span(State.OPERATOR_CALLTO, State.OPERATOR_PICKUP),
        span(*WAIT[call.direction]),
        _talk(call, ended),
    )


def _talk(call: Call, ended: int | None) -> float | None:
    """How long the client talked with anybody; None while they do, and if nobody saw the end."""
    spans = [(start, end) for _, start, end in talks(call, ended) if end is not None]
    if ended is None or not spans:
        # Who answers and is gone before there is a bridge has talked for no time at all.
        return 0.0 if ended is not None and call.bridges and call.talked else None
    talked, edge = 0, spans[0][0]
    for start, end in spans:
        # In a conference several talk with them at once.
        talked += max(0, end - max(start, edge))
        edge = max(edge, end)
    return talked / 1000


def view(call: Call) -> CallView:
    """The call as it stands now, after the last state told."""
    last = call.states[-1]
    ended = last.date if last.final else None
    # Of what was under way when nobody looked nobody knows how long it went on.
    seen = ended if call.lost is None else None
    ring, wait, talk = seconds(call, seen)
    return CallView(
        call_id=call.call_id,
        order_id=call.order_id,
        external_key=call.external_key,
        direction=call.direction,
        sip=call.sip,
        phone=call.phone,
        state=last.state,
        final=last.final,
        date=call.states[0].date,
        answered=call.date_of(TALK[call.direction]),
        ended=ended,
        ring_seconds=ring,
        wait_seconds=wait,
        talk_seconds=talk,
        hung_up_by=call.hung_up_by if last.final else None,
        cause=last.cause,
        detail=last.detail,
        did=call.did,
        caller_name=call.caller_name,
        note=call.note,
        anchor=call.anchor,
        legs=tuple(_legs(call, seen)),
        said=tuple(sorted(_said(call).items())),
        recordings=tuple(call.recordings),
        made_by=call.made_by,
        made_from=call.made_from,
        observed=call.observed,
    )


def _said(call: Call) -> dict[str, int]:
    """How far each channel's dialplan has counted what it said, before a restart or since."""
    counted = dict(call.said_before or {})
    for channel, number in call.said.items():
        counted[channel] = max(number, counted.get(channel, 0))
    return counted


def _legs(call: Call, ended: int | None) -> Iterator[LegView]:
    """The phones that were asked, the client who called in among them."""
    spans: dict[str, float] = {}
    for leg, start, end in talks(call, ended):
        if end is not None:
            spans[leg.name] = round(spans.get(leg.name, 0) + (end - start) / 1000, 3)
    if spans:
        spans[call.client.name] = _talk(call, ended) or sum(spans.values())
    for leg in call.legs:
        called, answered = _times(call, leg)
        if called is not None or leg.states:
            yield LegView(
                name=leg.name,
                sip=leg.sip,
                phone=leg.phone,
                called=called,
                answered=answered,
                ended=leg.ended,
                talk_seconds=spans.get(leg.name),
                cause=leg.cause,
                detail=leg.detail,
                channel=leg.channel,
                sent=leg.sent,
                spans=tuple((span.start, span.end) for span in leg.spans),
            )


def _times(call: Call, leg: Leg) -> tuple[int | None, int | None]:
    """When a phone was asked and when it answered; one that calls in is there from the start."""
    if leg is call.client and call.direction is Direction.INBOUND:
        return call.states[0].date, call.date_of(TALK[call.direction])
    return leg.called, leg.answered
