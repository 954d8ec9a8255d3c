"""Recorded calls, read again: from AMI in any chunks, and from the log of channel events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_wire import MessageParser
from ccdaemon.calls.call import Call
from ccdaemon.calls.signals import Entered, Left, Lost, Signal
from ccdaemon.pbx import cel_signals
from ccdaemon.pbx.ami_signals import EVENTS, from_event
from tests.derived import chain, derive, without_answers
from tests.integration.rows import Row
from tests.trace_rows import OFFLINE, RECORDED, ROWS_ON_16

FOLDER = Path(__file__).parent / "traces"
#: By the folders of the two Asterisks, the rows that one of them tells otherwise.
VERSIONS: dict[str, dict[str, Row]] = {"22-pjsip": {}, "16-chan_sip": ROWS_ON_16}
WANTED = frozenset(name.encode() for name in EVENTS)
NOW = 1_795_412_687_000
_ANCHOR = re.compile(rb"cc-[0-9a-f]+-[0-9]+-o")


@dataclass(frozen=True)
class Trace:
    """One recorded call; ``ami`` is what came over the wire, ``cel`` the rows of the log."""

    version: str
    name: str
    kind: str = "ami"

    @property
    def ami(self) -> bytes:
        """The bytes as they came."""
        return (FOLDER / self.version / f"{self.name}.{self.kind}").read_bytes()

    @property
    def cel(self) -> list[str]:
        """The rows, one a line."""
        path = FOLDER / self.version / f"{self.name}.cel"
        return path.read_text("utf-8").splitlines(keepends=True)

    @property
    def anchor(self) -> str:
        """The uniqueid of the operator's channel."""
        found = _ANCHOR.search(self.ami)
        assert found is not None, self
        return found[0].decode()

    @property
    def row(self) -> Row:
        """What is to be told of it."""
        return VERSIONS[self.version].get(self.name, RECORDED[self.name].row)


def traces() -> Iterator[Trace]:
    """Every call on every Asterisk."""
    return (Trace(version, name) for version in VERSIONS for name in RECORDED)


def signals_of(chunks: Iterable[bytes], wanted: frozenset[bytes] | None = WANTED) -> list[Signal]:
    """What the stream tells, cut as it is."""
    parser = MessageParser(wanted)
    messages = [message for chunk in chunks for message in parser.feed(chunk)]
    assert parser.error is None, parser.error
    spelled = (from_event(message, NOW) for message in messages)
    return [signal for signal in spelled if signal is not None]


def looked_for(trace: Trace) -> list[Signal]:
    """Where no channel was born, what the daemon finds when it looks for it."""
    absent = OFFLINE in trace.row.chains
    return [Lost(trace.anchor, trace.anchor, NOW, "there is none")] if absent else []


def in_bytes(stream: bytes) -> Iterator[bytes]:
    """The stream byte by byte."""
    return (stream[at : at + 1] for at in range(len(stream)))


class AMITests(SynchronousTestCase):
    """What AMI said."""

    def test_whole(self) -> None:
        """Each recorded stream, given in one piece, tells the chain of its row."""
        for trace in traces():
            call = derive(
                trace.anchor, [*signals_of([trace.ami]), *looked_for(trace)], bridges=False
            )
            self.assertIn(tuple(chain(call)), trace.row.chains, trace)
            self.assertTrue(call.final, trace)
            if trace.row.by:
                self.assertIn(call.hung_up_by, trace.row.by, trace)

    def test_byte_by_byte(self) -> None:
        """Each recorded stream, given byte by byte, tells the very same."""
        for trace in traces():
            whole = signals_of([trace.ami])
            self.assertEqual(signals_of(in_bytes(trace.ami)), whole, trace)

    @given(st.sampled_from(list(traces())), st.data())
    def test_any_chunks(self, trace: Trace, data: st.DataObject) -> None:
        """However a stream is cut, it tells the very same."""
        stream = trace.ami
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
        edges = zip([0, *cuts], [*cuts, len(stream)], strict=True)
        chunks = [stream[start:end] for start, end in edges]
        self.assertEqual(b"".join(chunks), stream)
        told = derive(trace.anchor, signals_of(chunks), bridges=False)
        self.assertEqual(
            told.states, derive(trace.anchor, signals_of([stream]), bridges=False).states
        )

    def test_without_a_filter(self) -> None:
        """All that Asterisk says of a call tells no more and nothing else, but for bridges."""
        for version in VERSIONS:
            full = Trace(version, "talk_client_hangs_up", "unfiltered.ami")
            filtered = Trace(version, "talk_client_hangs_up")
            self.assertGreater(len(full.ami), 5 * len(filtered.ami))
            for wanted in (WANTED, None):
                spelled = signals_of([full.ami], wanted)
                bridged = [one for one in spelled if isinstance(one, Entered | Left)]
                self.assertEqual([type(one) for one in bridged], [Entered, Entered, Left, Left])
                spelled = [one for one in spelled if one not in bridged]
                self.assertEqual(spelled, signals_of([filtered.ami]), version)

    def test_the_start_of_a_stream_tells_the_start_of_the_chain(self) -> None:
        """A session that ends in the middle has told a part of the chain, and nothing else."""
        for trace in traces():
            whole = derive(trace.anchor, signals_of([trace.ami]), bridges=False).states
            for end in range(0, len(trace.ami), 500):
                part = derive(trace.anchor, signals_of([trace.ami[:end]]), bridges=False).states
                self.assertEqual(part, whole[: len(part)], trace)


class CELTests(SynchronousTestCase):
    """What Asterisk wrote meanwhile."""

    def read(self, trace: Trace) -> Call:
        """The call, as the log alone tells it."""
        return derive(trace.anchor, cel_signals.from_rows(trace.cel))

    def test_tells_the_same(self) -> None:
        """The rows of the log alone give the chain that AMI gave, cause and hanging up included."""
        for trace in traces():
            heard = derive(trace.anchor, signals_of([trace.ami]), bridges=False)
            told, last = self.read(trace), heard.states[-1]
            expected = without_answers(chain(heard), last.cause) if heard.final else ["CALL"]
            self.assertEqual(chain(told), expected, trace)
            if expected == chain(heard):
                self.assertEqual(told.states[-1].cause, last.cause, trace)
                if len(trace.row.by) == 1:
                    self.assertEqual(told.hung_up_by, heard.hung_up_by, trace)

    def test_has_asterisks_own_times(self) -> None:
        """Talk seconds are the phones' own: the client hung up two seconds after their answer."""
        for version in VERSIONS:
            states = self.read(Trace(version, "talk_client_hangs_up")).states
            self.assertLess(abs(states[-1].date - states[-2].date - 2000), 150, version)

    def test_says_nothing_of_who_is_not_there(self) -> None:
        """No channel was born for an operator who is not registered: AMI alone tells of them."""
        for version in VERSIONS:
            trace = Trace(version, "operator_is_not_registered")
            self.assertEqual(trace.cel, [])
            stream = [*signals_of([trace.ami]), *looked_for(trace)]
            self.assertEqual(chain(derive(trace.anchor, stream)), [*OFFLINE])


class GapTests(SynchronousTestCase):
    """A daemon that hears a part by AMI and reads the rest, or all of it again."""

    @given(st.sampled_from(list(traces())), st.data())
    def test_any_gap(self, trace: Trace, data: st.DataObject) -> None:
        """The chain is the same, wherever the session broke off and however much is told twice."""
        heard, rows = signals_of([trace.ami]), list(cel_signals.from_rows(trace.cel))
        whole = derive(trace.anchor, [*heard, *looked_for(trace)])
        expected = [chain(whole), without_answers(chain(whole), whole.states[-1].cause)]
        cut = data.draw(st.integers(0, len(heard)))
        written = data.draw(st.integers(0, len(rows)))
        # The session came back in the middle, and told from the beginning what was read already.
        again = [*heard[:cut], *rows[:written], *heard, *rows, *looked_for(trace)]
        self.assertIn(chain(derive(trace.anchor, again)), expected)
        # It never came back.
        if rows:
            alone = derive(trace.anchor, [*heard[:cut], *rows])
            self.assertIn(chain(alone), expected)
