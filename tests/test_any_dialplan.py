"""Calls that a dialplan made which knows nothing of us, read from AMI alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import signals
from ccdaemon.calls.board import Board
from ccdaemon.calls.call import Call
from ccdaemon.calls.factory import begin
from ccdaemon.pbx.ami_signals import from_event
from tests.fake_asterisk import event

FOLDER = Path(__file__).parent / "traces" / "any_dialplan"
A, TRUNK = "SIP/150010001", "SIP/voipgrid-siproute-docker"
#: By name: whose channels are the client's, and the chain of each call after CALL, with operators.
STREAMS: dict[str, tuple[str, list[str]]] = {
    "simple-ab_success_a_hangup": (A, ["CALLTO 2, PICKUP 2, FINISH 2"]),
    "simple-ab_reject": (A, ["CALLTO 2, BUSY 2"]),
    "simple-ab_dnd": (A, ["CALLTO 2, BUSY 2"]),
    # Who gave up is not in the stream.
    "simple-ab_a_cancel": (A, ["CALLTO 2, NOANSWER 2"]),
    "simple-ab_callgroup": (A, ["CALLTO 2, CALLTO 3, PICKUP 2, FINISH 2"]),
    "queue-queue_simple": (TRUNK, ["CALLTO 2, CALLTO 3, PICKUP 2, FINISH 2"]),
    "queue-queue_group": (TRUNK, ["CALLTO 3, CALLTO 2, PICKUP 2, FINISH 2"]),
    # A mobile by the trunk: it was up, and pressed no key.
    "mobile-acceptance_reject": (TRUNK, ["CALLTO -, NOANSWER -"]),
    "mobile-acceptance_simple": (TRUNK, ["CALLTO -, PICKUP -, FINISH -"]),
    "xfer_misc-star_pickup": (A, ["CALLTO 2, CALLTO 3, PICKUP 3, FINISH 3"]),
    # Here it is the client who transfers one of them to the other.
    "xfer_attended-xfer_abacbc": (
        A,
        ["CALLTO 2, PICKUP 2, FINISH 2", "CALLTO 3, PICKUP 3, FINISH 3"],
    ),
    "xfer_blind-xfer_blind_abacbc": (A, ["CALLTO 2, PICKUP 2, FINISH 2"]),
}


def sip_of(name: str) -> str | None:
    """Whose phone a channel of this name is."""
    found = re.fullmatch(r"SIP/(15001000[0-9])-[0-9a-f]+", name)
    return found[1] if found else None


def read(name: str, client: str) -> list[Call]:
    """The calls that a client begins in a stream."""
    board = Board(lambda name: None if name.startswith(client) else sip_of(name))
    calls: list[Call] = []
    for at, headers in enumerate(json.loads((FOLDER / f"{name}.json").read_text("utf-8"))):
        words = {key: str(value) for key, value in headers.items() if key != "Event"}
        signal = from_event(event(headers["Event"], **words), at * 1000)
        if signal is None:
            continue
        if isinstance(signal, signals.Started) and _begins(signal, client):
            ids = signal.channel, signal.linkedid, signal.date
            opening = signals.Incoming(*ids, signal.name, words["CallerIDNum"], "")
            call, _ = begin(len(calls) + 1, opening, sip_of)
            board.add(call)
            calls.append(call)
        board.hear(signal)
    return calls


def _begins(signal: signals.Started, client: str) -> bool:
    return signal.channel == signal.linkedid and signal.name.startswith(client)


def chain(call: Call) -> str:
    """The states after CALL, each with the last digit of its operator."""
    states = (
        (told.state.value.replace("OPERATOR_", ""), (told.sip or "-")[-1])
        for told in call.states[1:]
    )
    return ", ".join(map(" ".join, states))


class StreamTests(SynchronousTestCase):
    """Each recorded stream."""

    def test_every_stream(self) -> None:
        """Tells what happened, whatever Local channels lay between."""
        for name, (client, expected) in STREAMS.items():
            calls = read(name, client)
            self.assertEqual([chain(call) for call in calls], expected, name)
            self.assertTrue(all(call.final for call in calls), name)

    def test_when_they_talked(self) -> None:
        """From bridge to bridge, also while a Local channel is taken out between."""
        [call] = read("mobile-acceptance_simple", TRUNK)
        [leg] = call.operators
        spans = [(one.start, one.end or 0) for one in leg.spans]
        self.assertEqual(spans, [(53000, 56000), (58000, 63000), (65000, 72000)])
