"""Recorded inbound calls, read again: from AMI in any chunks, and from the CEL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.call import Call
from ccdaemon.calls.signals import Signal
from ccdaemon.config.validators import Pattern
from ccdaemon.pbx import cel_signals
from ccdaemon.pbx.endpoints import Endpoints
from tests.derived import derive_begun
from tests.integration.inbound_rows import Row
from tests.test_traces import FOLDER, in_bytes, signals_of
from tests.trace_inbound import CALLER, RECORDED, Told, tells


@dataclass(frozen=True)
class Trace:
    """One recorded call in."""

    version: str
    name: str

    @property
    def row(self) -> Row:
        """What is done, and what is to be told."""
        return RECORDED[self.version][self.name]

    @property
    def ami(self) -> bytes:
        """The bytes as they came over the wire."""
        return self._path("ami").read_bytes()

    @property
    def cel(self) -> list[str]:
        """The rows of the log, one a line."""
        return self._path("cel").read_text("utf-8").splitlines(keepends=True)

    def call(self, stream: list[Signal], *, bridges: bool) -> Call:
        """The call that a stream tells."""
        technology = "PJSIP" if self.version == "22-pjsip" else "SIP"
        endpoints = Endpoints([technology + "/{sip}"], Pattern("[0-9]{4}"))
        return derive_begun(stream, endpoints.sip_of_channel, bridges=bridges)[CALLER]

    def _path(self, kind: str) -> Path:
        return FOLDER / self.version / "inbound" / f"{self.name}.{kind}"


def traces() -> Iterator[Trace]:
    """Every row on every Asterisk."""
    return (Trace(version, name) for version, rows in RECORDED.items() for name in rows)


class TraceTests(SynchronousTestCase):
    """What AMI said, and what Asterisk wrote meanwhile."""

    def holds(self, trace: Trace, call: Call) -> None:
        """The chain is the row's, and ends."""
        wanted = tells(trace.row)
        told: Told = [(one.state.value, one.sip) for one in call.states]
        # Whom a row does not name may be anybody.
        named = {sip for _, sip in wanted}
        told = [
            (state, sip if sip in named and state not in ("CLIENT_CANCEL", "ERROR") else None)
            for state, sip in told
        ]
        if trace.row.loose:
            told, wanted = sorted(told, key=str), sorted(wanted, key=str)
        self.assertEqual(told, wanted, trace)
        self.assertTrue(call.final, trace)
        if len(trace.row.by) == 1 and trace.row.by[0] is not None:
            self.assertEqual(call.hung_up_by, trace.row.by[0], trace)

    def test_ami(self) -> None:
        """Each recorded stream tells the chain of its row."""
        for trace in traces():
            self.holds(trace, trace.call(signals_of([trace.ami]), bridges=False))

    def test_cel(self) -> None:
        """So do the rows of the log alone."""
        for trace in traces():
            self.holds(trace, trace.call(list(cel_signals.from_rows(trace.cel)), bridges=True))

    def test_byte_by_byte(self) -> None:
        """Each recorded stream, given byte by byte, tells the very same."""
        for trace in traces():
            self.assertEqual(signals_of(in_bytes(trace.ami)), signals_of([trace.ami]), trace)

    @given(st.sampled_from(list(traces())), st.data())
    def test_any_chunks(self, trace: Trace, data: st.DataObject) -> None:
        """However a stream is cut, it tells the very same."""
        stream = trace.ami
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
        edges = zip([0, *cuts], [*cuts, len(stream)], strict=True)
        chunks = [stream[start:end] for start, end in edges]
        self.assertEqual(signals_of(chunks), signals_of([stream]))
