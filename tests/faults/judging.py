"""The history held against the truth: what the phones saw.

Judges calls after everything is over; knows the wire contract of a chain.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from lab.phones import PhoneEvent
from tests.faults.history import History
from tests.faults.marks import Cut, Wrong
from tests.faults.phones import Phones
from tests.faults.traffic import FALLBACK, Attempt
from tests.integration import inbound_rows, inbound_verdict, rows, verdict
from tests.integration.followed import out_of_order
from tests.integration.inbound_rounds import Taken
from tests.integration.rounds import Told

#: Complaints of an operator's refusal that the CEL, which has not their phone's SIP answer, causes.
_WORDS = re.compile(r"cause \d+, '.*'")
#: Milliseconds around the end of Asterisk within which a call may have been cut by it.
_CUT = 3.0
#: Seconds after which Postgres has what was told, on a machine with much to do.
_UNSHIPPED = 3.0


class Judge:
    """Holds attempts against the history.

    :param cuts: when Asterisk ended with all its calls.
    :param losses: when the journal was lost, and with it what Postgres did not have yet.
    :param dated: whether the daemon's clock was everybody's. Else no date of its own can be one of
        the phones', and no length that two dates make; all else has to be right.
    """

    def __init__(
        self,
        history: History,
        phones: Phones,
        cuts: Sequence[Cut] = (),
        losses: Sequence[float] = (),
        *,
        dated: bool = True,
    ) -> None:
        self._history = history
        self._phones = phones
        self._cuts = cuts
        self._losses = losses
        self._dated = dated
        self._by_key = {call["external_key"]: call for call in history.calls.values()}
        self._by_phone: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for call in history.calls.values():
            self._by_phone[call["phone"]].append(call)
        self.checked = 0

    def judge(self, attempts: Sequence[Attempt]) -> list[Wrong]:
        """Everything that is wrong."""
        wrong = [Wrong(one.name, self._id(one), said) for one in attempts for said in self._of(one)]
        ours = {one.phone for one in attempts}
        for call in self._history.calls.values():
            if call["phone"] not in ours:
                wrong.append(Wrong("a call that nobody made", call["call_id"], str(call["phone"])))
        if self._history.repeated:
            wrong.append(Wrong("states told twice", None, str(self._history.repeated)))
        return wrong

    def _id(self, attempt: Attempt) -> int | None:
        return next((call["call_id"] for call in self._by_phone[attempt.phone]), None)

    def _of(self, attempt: Attempt) -> Iterator[str]:
        calls = self._by_phone[attempt.phone]
        if len(calls) > 1:
            yield f"there are {len(calls)} of it"
        elif not calls:
            yield from self._missing(attempt)
        else:
            self.checked += 1
            said = list(
                self._inbound(attempt, calls[0])
                if attempt.did
                else self._outbound(attempt, calls[0])
            )
            if said and self._is_cut(calls[0]):
                said = list(self._cut_off(attempt, calls[0]))
            yield from said

    def _missing(self, attempt: Attempt) -> Iterator[str]:
        """No call: nobody's phone may have rung, and nobody may have been told of one."""
        rung = [sip for sip, seen in self._phones.operators[attempt.phone].items() if seen]
        client = self._phones.clients[attempt.did or attempt.phone]
        heard = {seen.event for seen in client} - {"dialled", "cancelled"}
        if self._was_away(attempt.begun):
            heard -= {"refused"}
        if rung or heard:
            yield f"is missing, but {rung} rang and the client's phone saw {heard}"
        elif (attempt.answer or {}).get("status") == "ok" and not self._was_lost(attempt.begun):
            yield "is missing, but makeCall said that it is made"
        elif attempt.did and not self._was_away(attempt.begun):
            yield "is missing"

    def _was_away(self, moment: float) -> bool:
        return any(cut.gone - _CUT < moment < cut.back + _CUT for cut in self._cuts)

    def _was_lost(self, moment: float) -> bool:
        """Whether all that was known of a call may have been in the journal that was lost.

        To be asked only of a call for which nobody's phone rang: then Asterisk never heard of it.
        """
        return any(0 <= loss - moment < _UNSHIPPED for loss in self._losses)

    # Outbound

    def _outbound(self, attempt: Attempt, call: dict[str, Any]) -> Iterator[str]:
        row = cast(rows.Row, attempt.row)
        answer = attempt.answer or {}
        said_id = (answer.get("response") or answer.get("error") or {}).get("call_id")
        if said_id not in (None, call["call_id"]):
            yield f"makeCall said {said_id}"
        chain = [state["state"] for state in call["states"]]
        rung = self._phones.operators[attempt.phone]
        if len(chain) == 2 and not rung:
            # Refused, or never heard of by Asterisk: the link broke, or the daemon was killed.
            if chain[1] not in ("OPERATOR_BUSY", "ERROR") or not call["detail"]:
                yield f"{chain}, {call['detail']}, but nobody's phone rang; {answer}"
            return
        told = Told(
            row,
            attempt.sips[0],
            attempt.phone,
            attempt.order_id,
            call["call_id"],
            self._history.streamed[call["call_id"]],
            call,
            self._history.records[call["call_id"]],
            rung[attempt.sips[0]],
            self._phones.clients[attempt.phone],
        )
        refused = chain[-1] in ("OPERATOR_BUSY", "OPERATOR_NOANSWER")
        for said in verdict.complaints(told, dated=self._dated):
            if not (refused and _WORDS.fullmatch(said)):
                yield said

    # Inbound

    def _inbound(self, attempt: Attempt, call: dict[str, Any]) -> Iterator[str]:
        rung = self._phones.operators[attempt.phone]
        row = cast(inbound_rows.Row, attempt.row)
        client = self._phones.clients[attempt.did or ""]
        taken = Taken(
            _as_it_went(row, attempt, rung, client),
            attempt.phone,
            attempt.did or "",
            attempt.order_id,
            [sip for sip in attempt.sips if sip in rung] if FALLBACK in rung else attempt.sips,
            None,  # type: ignore[arg-type]
            call["call_id"],
            self._history.streamed[call["call_id"]],
            call,
            self._history.records[call["call_id"]],
            client,
            dict(rung),
        )
        if FALLBACK in rung:
            taken.sips = [*taken.sips, FALLBACK]
        if call["order_id"] is None:
            # The CRM may not have been asked.
            taken.order_id = None  # type: ignore[assignment]
        yield from inbound_verdict.complaints(taken, dated=self._dated)

    # Asterisk died

    def _is_cut(self, call: dict[str, Any]) -> bool:
        return bool(self._cuts_of(call))

    def _cuts_of(self, call: dict[str, Any]) -> list[Cut]:
        begun, ended = verdict.seconds(call["date"]), verdict.seconds(call["ended"])
        return [cut for cut in self._cuts if begun < cut.back + _CUT and ended > cut.gone - _CUT]

    def _cut_off(self, attempt: Attempt, call: dict[str, Any]) -> Iterator[str]:
        """Asterisk ended in the middle: the beginning of its chain, and an end with a reason."""
        states = call["states"]
        chain = [state["state"] for state in states]
        talked = "CLIENT_PICKUP" if attempt.did is None else "OPERATOR_PICKUP"
        last = "FINISH" if talked in chain else "ERROR"
        if chain[-1] != last and not any(cut.told for cut in self._cuts_of(call)):
            yield f"cut off: {chain}"
        if not call["detail"]:
            yield "cut off without a reason"
        yield from out_of_order(states)
        if self._history.streamed[call["call_id"]] != states:
            yield "the list of all states has it otherwise"
        if attempt.did is None:
            whole = [list(each[: len(chain) - 1]) for each in cast(rows.Row, attempt.row).chains]
            if chain[:-1] not in whole:
                yield f"cut off: {chain} is no beginning of {attempt.row}"
            for role, seen in (
                ("OPERATOR", self._phones.operators[attempt.phone][attempt.sips[0]]),
                ("CLIENT", self._phones.clients[attempt.phone]),
            ):
                if bool(verdict.count(seen, "answered")) and f"{role}_PICKUP" not in chain:
                    yield f"cut off: {chain}, but the {role.lower()}'s phone saw {seen}"


def _as_it_went(
    row: inbound_rows.Row,
    attempt: Attempt,
    rung: Mapping[str, Sequence[PhoneEvent]],
    client: Sequence[PhoneEvent],
) -> inbound_rows.Row:
    """The row, or what becomes of it where the daemon said nothing: the client reaches FALLBACK."""
    row = replace(row, talk=9.0, by=(*row.by, "client"))
    if not rung and verdict.count(list(client), "cancelled"):
        # Before anybody was asked: the daemon had not answered yet.
        return replace(row, tells="CALL, CLIENT_CANCEL")
    if FALLBACK not in rung:
        return row
    asked = [sip for sip in attempt.sips if sip in rung]
    number = len(asked) + 1
    tells = ""
    if asked and not row.talks:
        tells = row.tells.removeprefix("CALL, ") + ", "
    last = f"OPERATOR_CALLTO({number}), OPERATOR_PICKUP({number}), FINISH({number})"
    return replace(
        row,
        tells=f"CALL, {tells}{last}",
        by=("client",),
        hears=None,
        rings_out=None,
        ends=(),
    )
