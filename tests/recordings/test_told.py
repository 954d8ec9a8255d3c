"""Which recordings a call has: what Asterisk has said that it records, whoever began it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, signals
from ccdaemon.calls.model import CallView
from ccdaemon.calls.view import view
from ccdaemon.recordings.recordings import recordings_of
from tests.calls import inbound_streams as inbound
from tests.calls import streams
from tests.calls.streams import unshuffled

FOLDER = PurePosixPath("/var/spool/asterisk/monitor")
DAY = "2026/11/23"


def taken(*recorded: tuple[str, str]) -> CallView:
    """An inbound call that 1000 has taken, with what Asterisk said that it records."""
    call = inbound.new_call()
    for channel, file in recorded:
        machine.advance(call, signals.Recorded(channel, inbound.ANCHOR, inbound.T0, file))
    for signal in unshuffled(inbound.talks("1000")):
        machine.advance(call, signal)
    return view(call)


class RecordedTests(SynchronousTestCase):
    """The recordings that are waited for."""

    def test_nothing_was_said(self) -> None:
        """Then it is what our own dialplan does, if it does."""
        leg = inbound.LEGS["1000"][0]
        self.assertEqual(recordings_of(taken(), FOLDER), [(leg, f"{DAY}/{leg}.wav")])
        self.assertEqual(recordings_of(taken(), FOLDER, ours=False), [])

    def test_by_somebody_else(self) -> None:
        """On whatever channel, in whatever format, and in two files at a time."""
        call = taken(
            ("17.1", f"{FOLDER}/{DAY}/17.1.wav"),
            (inbound.ANCHOR, f"{FOLDER}/{DAY}/in-380441234567-1.gsm"),
            (inbound.ANCHOR, "queue/q.mp3"),
            (inbound.ANCHOR, "queue/q.mp3"),
        )
        self.assertEqual(
            recordings_of(call, FOLDER),
            [
                ("17.1", f"{DAY}/17.1.wav"),
                (inbound.ANCHOR, f"{DAY}/in-380441234567-1.gsm"),
                (f"{inbound.ANCHOR}-2", "queue/q.mp3"),
            ],
        )

    def test_an_outbound_call(self) -> None:
        """Ours is known by the first channel, and is one file, whoever tells of it."""
        call = streams.new_call()
        ours = f"{FOLDER}/{DAY}/{streams.ANCHOR}.wav"
        for file in (ours, ours, f"{FOLDER}/theirs.wav"):
            heard = signals.Recorded(streams.CLIENT, streams.ANCHOR, streams.T0, file)
            machine.advance(call, heard)
        talked = replace(view(call), answered=1)
        self.assertEqual(
            recordings_of(talked, FOLDER),
            [(streams.ANCHOR, f"{DAY}/{streams.ANCHOR}.wav"), (streams.CLIENT, "theirs.wav")],
        )

    def test_elsewhere(self) -> None:
        """What is not in the recordings folder, or not to be read, is not ours to serve."""
        for file in ("/etc/passwd", f"{FOLDER}/../x.wav", "a\nb.wav"):
            self.assertEqual(recordings_of(taken(("17.1", file)), FOLDER), [], file)
