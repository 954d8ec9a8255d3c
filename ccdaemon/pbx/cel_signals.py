"""CEL rows to signals: the second spelling, which Asterisk writes whatever happens to AMI.

The columns are those of ``conf/asterisk/cel_custom_ccdaemon.conf``. What a row cannot tell: an
operator who was offline (no channel was born), the operator's SIP answer, a call forward of theirs
phone that left no cause, and what Asterisk did not live to write. Reads text; where the file is
and what was read before is not known here.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from twisted.logger import Logger

from ccdaemon.calls import signals
from ccdaemon.calls.signals import Signal
from ccdaemon.pbx import call_tag
from ccdaemon.pbx.ami_signals import HOLDING, number
from ccdaemon.pbx.dialplan import DIALPLAN_EVENTS, Channel

_log = Logger()

#: The columns of a row, in order.
COLUMNS = (
    "eventtype",
    "eventtime",
    "uniqueid",
    "linkedid",
    "channame",
    "peer",
    "cidnum",
    "exten",
    "context",
    "appname",
    "appdata",
    "userdeftype",
    "eventextra",
    "userfield",
    "accountcode",
)


#: The first moment that cannot be a row's, in ms: the year 10000. A damaged line may have any.
NO_DATE = 253_402_300_800_000
#: The application that records.
MIXMONITOR = "MixMonitor"

_CELL = r'"[^"]*(?:""[^"]*)*"'
_QUOTED = re.compile(rf"{_CELL}(?:,{_CELL})*")


class BadCelRow(ValueError):
    """A row that is not one of ours: torn, or written with other columns."""


@dataclass(frozen=True, slots=True)
class CelRow:
    """One CEL row. ``date`` is whole milliseconds since 1970 in UTC, by Asterisk's clock."""

    event: str
    date: int
    uniqueid: str
    linkedid: str
    channel: str
    extra: dict[str, object]
    label: str = ""
    app: str = ""
    data: str = ""
    context: str = ""
    exten: str = ""
    caller: str = ""

    @property
    def ids(self) -> tuple[str, str, int]:
        """Channel, linkedid and date, as signals begin."""
        return self.uniqueid, self.linkedid, self.date

    def word(self, key: str) -> str:
        """A value of the extra column as text, empty if there is none."""
        return str(self.extra.get(key) or "")


def parse_row(cells: list[str]) -> CelRow:
    """One row of the file.

    :raises BadCelRow: if it has not the columns that ``COLUMNS`` names.
    """
    if len(cells) != len(COLUMNS):
        raise BadCelRow(f"{len(cells)} columns instead of {len(COLUMNS)}")
    value = dict(zip(COLUMNS, cells, strict=True))
    try:
        date = round(float(value["eventtime"]) * 1000)
        extra = json.loads(value["eventextra"] or "{}")
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadCelRow(f"eventtime or eventextra: {error}") from error
    if not 0 <= date < NO_DATE:
        raise BadCelRow("eventtime is in no year that is written in four digits")
    if not isinstance(extra, dict):
        raise BadCelRow("eventextra is no object")
    # Asterisk puts a user's event type into either column, as the version pleases.
    event = value["userdeftype"] or value["eventtype"]
    ids = value["uniqueid"], value["linkedid"]
    app = value["appname"], value["appdata"], value["context"], value["exten"], value["cidnum"]
    return CelRow(event, date, *ids, value["channame"], extra, value["userfield"], *app)


def read_rows(lines: Iterable[str]) -> Iterator[CelRow | None]:
    """What lines of the file hold, each by itself; None for a line that is no row of ours."""
    for line in lines:
        try:
            # One line at a time: in a torn one a quote is left open, and would swallow the next.
            yield parse_row(_cells(line))
        except (BadCelRow, csv.Error):
            yield None


def _cells(line: str) -> list[str]:
    """The cells of a line, each of which has to be quoted as ``CSV_QUOTE`` does it.

    A line feed that a phone sends ends a line within a cell; what stands behind it has no quote
    that is not doubled, and so cannot be a row.
    """
    row = line.removesuffix("\n")
    if not _QUOTED.fullmatch(row):
        raise BadCelRow("a cell is not quoted")
    return next(csv.reader([row]), [])


def date_of(line: str) -> int | None:
    """When a line was written, in milliseconds; None if it is no row of ours."""
    row = next(read_rows([line]))
    return None if row is None else row.date


def from_line(line: str) -> list[Signal] | None:
    """The signals that a line of the file spells; None for one that is no row of ours.

    So is a row that cannot be spelled, whatever is wrong with it: it keeps nobody from the next.
    """
    row = next(read_rows([line]))
    try:
        return None if row is None else list(from_row(row))
    except Exception:
        _log.failure("a row of the channel log cannot be read")
        return None


def from_rows(lines: Iterable[str]) -> Iterator[Signal]:
    """The signals that lines of the file spell, in their order; bad rows spell none."""
    for row in read_rows(lines):
        if row is not None:
            yield from from_row(row)


def from_row(row: CelRow) -> Iterator[Signal]:
    """The signals that ``row`` spells."""
    if row.label and (words := call_tag.read(row.label)):
        yield signals.Tagged(*row.ids, row.channel, *words)
    if saying := DIALPLAN_EVENTS.get(row.event):
        yield saying.in_row(Channel(*row.ids, row.channel), row.word("extra"))
    elif spell := EVENTS.get(row.event):
        yield from spell(row)


def _chan_start(row: CelRow) -> Iterator[Signal]:
    begun = row.context, row.exten, row.caller
    yield signals.Started(*row.ids, row.channel, None, *begun)


def _answer(row: CelRow) -> Iterator[Signal]:
    yield signals.Answered(*row.ids)


def _bridge_enter(row: CelRow) -> Iterator[Signal]:
    if bridge := row.word("bridge_id"):
        holding = row.word("bridge_technology") == HOLDING
        yield signals.Entered(*row.ids, row.channel, bridge, holding)


def _bridge_exit(row: CelRow) -> Iterator[Signal]:
    if bridge := row.word("bridge_id"):
        yield signals.Left(*row.ids, bridge)


def _app_start(row: CelRow) -> Iterator[Signal]:
    # Its first argument is the file; one without a folder is in Asterisk's own.
    if row.app == MIXMONITOR and (file := row.data.partition(",")[0]):
        yield signals.Recorded(*row.ids, file)


def _hangup(row: CelRow) -> Iterator[Signal]:
    if row.word("hangupsource") == row.channel:
        yield signals.HungUp(*row.ids)
    yield signals.Ended(*row.ids, number(row.word("hangupcause")), "")


def _linkedid_end(row: CelRow) -> Iterator[Signal]:
    # An unanswered leg that left no cause waits for the answer to Originate. The file has none, and
    # a phone whose time was over is what it nearly always is.
    yield signals.OriginateFailed(row.linkedid, row.linkedid, row.date, signals.RANG_OUT)


EVENTS: dict[str, Callable[[CelRow], Iterator[Signal]]] = {
    "CHAN_START": _chan_start,
    "ANSWER": _answer,
    "BRIDGE_ENTER": _bridge_enter,
    "BRIDGE_EXIT": _bridge_exit,
    "APP_START": _app_start,
    "HANGUP": _hangup,
    "LINKEDID_END": _linkedid_end,
}
