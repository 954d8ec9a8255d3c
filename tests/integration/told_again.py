"""The cheap strong check: what was told of a test's calls, derived from the channel log alone."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Direction
from ccdaemon.calls.observing import Observer
from ccdaemon.config.validators import Pattern
from ccdaemon.pbx import cel_signals
from ccdaemon.pbx.endpoints import Endpoints
from ccdaemon.store.journal_file import NAME
from lab.asterisk import Asterisk
from tests.derived import derive_told, without_answers

#: The states of a call, each with the call as it stood then, as the journal has them.
States = list[dict[str, Any]]
#: What the daemon tells of operators who are not rung; the log has nothing of them.
_PASSED = ("OPERATOR_OFFLINE", "OPERATOR_BUSY")


class Again:
    """What an Asterisk writes down from now on, held against what a daemon tells meanwhile."""

    def __init__(self, asterisk: Asterisk) -> None:
        self._asterisk = asterisk
        self._log = asterisk.cel_file_on_host
        self._since = time.time()
        self._size = self._log.stat().st_size if self._log.exists() else 0
        self._pid = asterisk.pid

    @property
    def is_whole(self) -> bool:
        """Whether it is still the same Asterisk, and its log the same file."""
        is_same = self._asterisk.pid == self._pid and self._log.exists()
        return is_same and self._log.stat().st_size >= self._size

    def otherwise(self, state_dir: Path, trunks: Sequence[str] = ()) -> list[str]:
        """What the log tells otherwise of the calls that are over; nothing, if all is right.

        :param trunks: whose channels the daemon takes for the world outside in calls that nobody
            hands over.
        """
        calls = _told(state_dir, int(self._since * 1000))
        with self._log.open("rb") as stream:
            stream.seek(self._size)
            lines = stream.read().decode().splitlines(keepends=True)
        endpoints = Endpoints([self._asterisk.operator_channel], Pattern("[0-9]{4}"))
        observer = Observer(trunks, (), endpoints.sip_of_channel) if trunks else None
        again = _derived(calls, lines, endpoints, observer)
        return [
            f"call {call_id}: {said}"
            for call_id, states in calls.items()
            for said in _differs(states, again.get(call_id))
        ]


def _told(state_dir: Path, since: int) -> dict[int, States]:
    """The calls that are over and began at ``since``, in ms, or later, by number.

    The daemon has the journal to itself: what is read is a copy of it and of its log.
    """
    calls: dict[int, States] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for name in (NAME, f"{NAME}-wal"):
            if (state_dir / name).exists():
                shutil.copy(state_dir / name, folder)
        if not (Path(folder) / NAME).exists():
            return {}
        with closing(sqlite3.connect(Path(folder) / NAME)) as journal:
            rows = journal.execute(
                "SELECT call_id, body FROM event WHERE kind = 'state' ORDER BY event_id"
            )
            for call_id, body in rows:
                calls[call_id].append(msgspec.json.decode(body))
    return {
        call_id: states
        for call_id, states in calls.items()
        if states[0]["state"]["date"] >= since and states[-1]["state"]["final"]
    }


def _derived(
    calls: Mapping[int, States],
    lines: Sequence[str],
    endpoints: Endpoints,
    observer: Observer | None,
) -> dict[int, Call]:
    """The calls once more; without those of which the log has nothing."""
    outbound: list[Call] = []
    begun: dict[str, int] = {}
    for call_id, states in calls.items():
        view = states[0]["call"]
        anchor, sip, phone = view["anchor"], view["sip"], view["phone"]
        if anchor.startswith("cc-"):
            outbound.append(Call(call_id, None, None, Direction.OUTBOUND, sip, phone, anchor))
        else:
            begun[anchor] = call_id
    stream = cel_signals.from_rows(lines)
    return derive_told(
        outbound,
        lambda opening: begun.get(opening.channel),
        stream,
        endpoints.sip_of_channel,
        observer,
    )


def _differs(states: States, again: Call | None) -> Iterator[str]:
    if again is None:
        yield "it is not in the log"
        return
    told = [each["state"]["state"] for each in states]
    other = [each.state.value for each in again.states]
    reached = [each["state"]["state"] for each in states if not _is_passed(states, each)]
    chains = [told, reached, without_answers(told, states[-1]["call"]["cause"])]
    if _is_ended_by_us(states) or not again.final:
        # Also what nobody was rung for has no end in it.
        is_same = any(chain[:-1] in (other, other[:-1]) for chain in chains)
    else:
        # An operator who leaves between the two lines of the dialplan that say whom it calls next,
        # to AMI and to the log, leaves one of them unsaid.
        is_same = _without_client(other) in map(_without_client, chains)
    if not is_same:
        yield f"{other} instead of {told}"


def _without_client(chain: list[str]) -> list[str]:
    """The chain without the client who was to be called as the last, of whom nothing is said."""
    *before, last = chain
    if before[-1:] == ["CLIENT_CALLTO"] and not last.startswith("CLIENT_"):
        return [*before[:-1], last]
    return chain


def _is_passed(states: States, one: dict[str, Any]) -> bool:
    """Whether it is told of somebody who was not rung, and after whom others were asked."""
    return not one["state"]["final"] and _has_no_phone(states, one)


def _is_ended_by_us(states: States) -> bool:
    """Whether the end is the daemon's or the API's own doing, or of somebody who was not rung."""
    last = states[-1]
    is_rejected = (last["state"]["detail"] or "").startswith("rejected: ")
    return last["call"]["hung_up_by"] == "api" or is_rejected or _has_no_phone(states, last)


def _has_no_phone(states: States, one: dict[str, Any]) -> bool:
    rung = {each["state"]["leg"] for each in states if each["state"]["state"] == "OPERATOR_CALLTO"}
    return one["state"]["state"] in _PASSED and one["state"]["leg"] not in rung
