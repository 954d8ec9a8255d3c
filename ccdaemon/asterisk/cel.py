"""CEL rows to signals: the second spelling, which Asterisk writes whatever happens to AMI.

The columns are those of ``conf/asterisk/cel_custom_ccdaemon.conf``. What a row cannot tell: an
operator who was offline (no channel was born), the operator's SIP answer, a call forward of his
phone that left no cause, and what Asterisk did not live to write. Reads text; where the file is
and what was read before is not known here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ccdaemon.asterisk.signals import number
from ccdaemon.calls import signals
from ccdaemon.calls.model import Role
from ccdaemon.calls.signals import Signal

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


class BadRow(ValueError):
    """A row that is not one of ours: torn, or written with other columns."""


@dataclass(frozen=True, slots=True)
class Row:
    """One CEL row. ``date`` is whole milliseconds since 1970 in UTC, by Asterisk's clock."""

    event: str
    date: int
    uniqueid: str
    linkedid: str
    channel: str
    extra: dict[str, object]

    @property
    def ids(self) -> tuple[str, str, int]:
        """Channel, linkedid and date, as signals begin."""
        return self.uniqueid, self.linkedid, self.date

    def word(self, key: str) -> str:
        """A value of the extra column as text, empty if there is none."""
        return str(self.extra.get(key) or "")


def parse_row(cells: list[str]) -> Row:
    """One row of the file.

    :raises BadRow: if it has not the columns that ``COLUMNS`` names.
    """
    if len(cells) != len(COLUMNS):
        raise BadRow(f"{len(cells)} columns instead of {len(COLUMNS)}")
    value = dict(zip(COLUMNS, cells, strict=True))
    try:
        date = round(float(value["eventtime"]) * 1000)
        extra = json.loads(value["eventextra"] or "{}")
    except (ValueError, OverflowError) as error:
        raise BadRow(f"eventtime or eventextra: {error}") from error
    if not isinstance(extra, dict):
        raise BadRow("eventextra is no object")
    # Asterisk puts a user's event type into either column, as the version pleases.
    event = value["userdeftype"] or value["eventtype"]
    return Row(event, date, value["uniqueid"], value["linkedid"], value["channame"], extra)


def from_rows(lines: Iterable[str]) -> Iterator[Signal]:
    """The signals that whole lines of the file spell, in their order; bad rows spell none."""
    for cells in csv.reader(lines):
        try:
            row = parse_row(cells)
        except BadRow:
            continue
        yield from from_row(row)


def from_row(row: Row) -> Iterator[Signal]:
    """The signals that ``row`` spells."""
    spell = EVENTS.get(row.event)
    return spell(row) if spell else iter(())


def _chan_start(row: Row) -> Iterator[Signal]:
    yield signals.Started(*row.ids, row.channel)


def _answer(row: Row) -> Iterator[Signal]:
    yield signals.Answered(*row.ids)


def _dial(row: Row) -> Iterator[Signal]:
    yield signals.Asked(*row.ids, Role.CLIENT)


def _end(row: Row) -> Iterator[Signal]:
    dial_status, tech, source = [*row.word("extra").split("|"), "", "", ""][:3]
    yield signals.Outcome(*row.ids, dial_status, tech, source)


def _hangup(row: Row) -> Iterator[Signal]:
    if row.word("hangupsource") == row.channel:
        yield signals.HungUp(*row.ids)
    yield signals.Ended(*row.ids, number(row.word("hangupcause")), "")


def _linkedid_end(row: Row) -> Iterator[Signal]:
    # An unanswered leg that left no cause waits for the answer to Originate. The file has none, and
    # a phone whose time was over is what it nearly always is.
    yield signals.OriginateFailed(row.linkedid, row.linkedid, row.date, signals.RANG_OUT)


EVENTS: dict[str, Callable[[Row], Iterator[Signal]]] = {
    "CHAN_START": _chan_start,
    "ANSWER": _answer,
    "HANGUP": _hangup,
    "LINKEDID_END": _linkedid_end,
    "ccdaemon-dial": _dial,
    "ccdaemon-end": _end,
}
