"""Which events are Asterisk's, and which a phone has written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_spelling import SNAPSHOT, SPELLED, Judge, Judged
from ccdaemon.ami.ami_wire import MessageParser
from ccdaemon.pbx.dialplan import HEADERS
from tests.ami.recorded import FOLDER
from tests.ami.session_case import SessionCase

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
#: Where a phone's words stand in an event.
PLACES = ("CallerIDNum", "CallerIDName", "ConnectedLineNum", "ConnectedLineName", "Exten")


def judged(stream: bytes, judge: Judge | None = None) -> Judged:
    """What is to be believed of a stream that comes at once."""
    parser = MessageParser(strange=True)
    judge = judge or Judge(HEADERS)
    found = judge.judge(parser.feed(GREETING + stream))
    found.believed += judge.settle().believed
    return found


def spelled(name: str, **values: str) -> bytes:
    """An event with every header that it may have."""
    headers = ("Event", *(header.rstrip("?") for header in SPELLED[name]))
    known = {"Event": name, "Channel": "SIP/t-1", "Uniqueid": "1.1", "Linkedid": "1.1"}
    lines = [f"{header}: {values.get(header, known.get(header, 'x'))}" for header in headers]
    return "\r\n".join([*lines, "", ""]).encode()


def told(stream: bytes) -> list[tuple[str, str]]:
    """The events of a stream that are believed, each with its channel's uniqueid."""
    return [(each.name, each.get("Uniqueid")) for each in judged(stream).believed]


#: What a caller may send to be taken for an event; a talk is on channel 9.9.
FORGED = {
    "another header": "1\r\nUniqueid: 9.9",
    "two": "1\r\nUniqueid: 9.9\r\nLinkedid: 9.9",
    "an event": "1\r\nEvent: Hangup\r\nUniqueid: 9.9",
    "of another event": "1\r\nDevice: PJSIP/1000\r\nState: UNAVAILABLE",
    "its end": "1\r\n\r\n",
    "its end and a header": "1\r\n\r\nUniqueid: 9.9",
    "a hangup": "1\r\n\r\nEvent: Hangup\r\nUniqueid: 9.9\r\nCause: 16\r\n\r\n",
    "a hangup that goes on": "1\r\n\r\nEvent: Hangup\r\nUniqueid: 9.9\r\nCause: 16\r\nX: ",
    "a phone's state": (
        "1\r\n\r\nEvent: DeviceStateChange\r\nPrivilege: call,all\r\nDevice: PJSIP/1000"
        "\r\nState: UNAVAILABLE\r\n\r\n"
    ),
    "an entry of a list": (
        "1\r\n\r\nEvent: DeviceStateChange\r\nActionID: 1\r\nDevice: PJSIP/1000"
        "\r\nState: UNAVAILABLE\r\n\r\n"
    ),
    "many": "1\r\n\r\nEvent: X\r\n\r\nEvent: Reload\r\nPrivilege: system,all\r\n\r\n",
    "what the dialplan says": (
        "1\r\n\r\nEvent: UserEvent\r\nUserEvent: ccdaemon-paused\r\nUniqueid: 9.9\r\n\r\n"
    ),
    "a whole one": "1\r\n\r\n" + spelled("Hangup", Uniqueid="9.9").decode(),
    "its own rest, and one": (
        "1\r\n"
        + "".join(f"{name}: 9.9\r\n" for name in SNAPSHOT[SNAPSHOT.index("CallerIDName") :])
        + "\r\n"
    ),
}


class SpellingTests(SynchronousTestCase):
    """What is believed."""

    def test_recorded(self) -> None:
        """Every event that a real Asterisk has told, 16 and 22, is its own."""
        files = [*FOLDER.glob("*/*.ami"), *FOLDER.glob("*.txt")]
        self.assertGreater(len(files), 50)
        for file in files:
            stream = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            stream = stream[stream.index(b"Event: ") :]
            found = judged(stream.removeprefix(GREETING))
            self.assertEqual((found.forged, found.strange), ([], 0), file)
            self.assertGreater(len(found.believed), 1)

    def test_every_event(self) -> None:
        """With what not every version says and without, and with what a newer one may add."""
        for name, headers in SPELLED.items():
            whole = spelled(name)
            short = b"".join(
                line
                for line in whole.splitlines(keepends=True)
                if line.split(b":")[0].decode() + "?" not in headers
            )
            newer = whole.replace(b"\r\n", b"\r\nTenantID: 1\r\nTenantID: 1\r\n", 1)
            for stream in (whole, short, newer):
                found = judged(stream)
                self.assertEqual([each.name for each in found.believed], [name], stream)
                self.assertEqual(found.forged, [])

    def test_forged(self) -> None:
        """Nothing that a phone writes tells anything, wherever it stands, and the next is heard."""
        after = spelled("Hangup", Uniqueid="2.2") + b"\r\n"
        for name in ("Newchannel", "Newstate", "Hangup", "HangupRequest", "BridgeEnter"):
            for place in PLACES:
                for what, words in FORGED.items():
                    stream = spelled(name, **{place: words}) + b"\r\n"
                    believed = told(stream + after)
                    if what == "its own rest, and one":
                        # A session begins anew for it: what came before is heard again.
                        self.assertNotIn("9.9", [uniqueid for _, uniqueid in believed])
                        continue
                    self.assertEqual(believed, [("Hangup", "2.2")], (name, place, what))
                    self.assertEqual(judged(stream).forged, ["SIP/t-1"], (name, place, what))

    def test_events_that_nobody_wants(self) -> None:
        """What a phone writes into them tells nothing either."""
        stream = spelled("Newstate", CallerIDNum=FORGED["a phone's state"]) + b"\r\n"
        parser = MessageParser(frozenset({b"DeviceStateChange", b"Hangup"}), strange=True)
        found = Judge(HEADERS).judge(parser.feed(GREETING + stream))
        self.assertEqual((found.believed, found.forged), ([], ["SIP/t-1"]))

    def test_what_the_dialplan_says(self) -> None:
        """Its words once; another's events may say what they like."""
        start = spelled("Newstate").replace(b"Event: Newstate", b"Event: UserEvent")
        said = (
            start.removesuffix(b"\r\n")
            + b"UserEvent: ccdaemon-incoming\r\nPhone: 1\r\nDid: 2\r\n\r\n"
        )
        self.assertEqual(told(said), [("UserEvent", "1.1")])
        for words in (b"1\r\nPhone: 2", b"1\r\nUserEvent: ccdaemon-end"):
            self.assertEqual(told(said.replace(b"CallerIDNum: x", b"CallerIDNum: " + words)), [])
        others = b"Event: UserEvent\r\nUserEvent: x\r\nUniqueid: 1\r\nUniqueid: 1\r\n\r\n"
        self.assertEqual(len(told(others)), 1)
        without = b"Event: UserEvent\r\nUserEvent: ccdaemon-paused\r\nUniqueid: 9.9\r\n\r\n"
        self.assertEqual(told(without), [])

    def test_in_pieces(self) -> None:
        """The rest of what was cut goes, also if it comes later."""
        judge = Judge(HEADERS)
        whole = spelled("Newchannel", CallerIDNum=FORGED["a phone's state"]) + b"\r\n"
        parser = MessageParser(strange=True)
        parser.feed(GREETING)
        found = [judge.judge(parser.feed(whole[at : at + 1])) for at in range(len(whole))]
        self.assertEqual([each.believed for each in found if each.believed], [])
        self.assertTrue(judge.waits)
        self.assertEqual(judge.settle().believed, [])
        self.assertFalse(judge.waits)

    @given(st.sampled_from(PLACES), st.lists(st.sampled_from([*FORGED.values(), "\r\n", ": "])))
    def test_any_of_it(self, place: str, words: list[str]) -> None:
        """However much a phone puts together, no channel but its own is believed in."""
        stream = spelled("Newchannel", **{place: "".join(words)[:250]}) + b"\r\n"
        for _, uniqueid in told(stream):
            self.assertNotEqual(uniqueid, "9.9")


class SessionTests(SessionCase):
    """A session in which somebody forges."""

    def test_told(self) -> None:
        """Nobody hears it, its channel is told, it is counted, and the session stands."""
        channels: list[str] = []
        self.session._on_forged = channels.append
        self.clock.advance(self.settings.garbled_after)
        events, states = self.heard("Newchannel"), self.heard("DeviceStateChange")
        stream = spelled("Newchannel", CallerIDNum=FORGED["a phone's state"]) + b"\r\n"
        self.session.dataReceived(stream)
        self.clock.advance(0)
        self.assertEqual((events, states, channels), ([], [], ["SIP/t-1"]))
        self.assertEqual(self.session.counters.forged, 1)
        self.assertFalse(self.far_end.dropped)
        self.session.dataReceived(spelled("Newchannel"))
        self.assertEqual(events, [])
        self.clock.advance(self.settings.settled_after)
        self.assertEqual([event.get("CallerIDNum") for event in events], ["x"])

    def test_lost_meanwhile(self) -> None:
        """A link that goes leaves nothing behind."""
        self.session.dataReceived(spelled("Newchannel", CallerIDNum="1\r\n\r\n"))
        self.far_end.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_entry_of_no_list(self) -> None:
        """What looks like an entry of a list that nobody asked for is told to nobody."""
        events = self.heard("DeviceStateChange")
        self.far_end.say("Event: DeviceStateChange\nActionID: x\nDevice: d\nState: INUSE\n\n")
        self.assertEqual(events, [])
