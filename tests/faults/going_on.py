"""Calls go on as ever beside a fault: each is made, and each key is good for one.

Judges what makeCall answered, and whom the phones saw ring.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tests.faults.marks import Wrong
from tests.faults.phones import Phones
from tests.faults.traffic import FALLBACK, Attempt, Repeat

#: What came of questions to the CRM, as /metrics has it.
_QUESTIONS = re.compile(r'^ccdaemon_routing_crm_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)


def not_made(attempts: Iterable[Attempt]) -> Iterator[Wrong]:
    """Calls that makeCall did not make."""
    for one in attempts:
        if one.did is None and (one.answer or {}).get("status") != "ok":
            yield Wrong(one.name, None, f"makeCall was answered {one.answer}")


def left_alone(attempts: Iterable[Attempt], phones: Phones, metrics: str) -> Iterator[Wrong]:
    """Clients whom the daemon left to the fallback, if more than the CRM's silence can be why."""
    outcomes = _QUESTIONS.findall(metrics)
    unanswered = sum(float(count) for outcome, count in outcomes if outcome != "answered")
    alone = [one for one in attempts if one.did and FALLBACK in phones.operators[one.phone]]
    if len(alone) > unanswered:
        for one in alone:
            yield Wrong(one.name, None, f"{one.phone} was left to the fallback")


def made_again(repeats: Iterable[Repeat], phones: Phones) -> Iterator[Wrong]:
    """Keys that were taken twice, or whose call was not said, and phones that rang for them."""
    for one in repeats:
        name, call_id = one.first.name, one.first.call_id
        error = (one.answer or {}).get("error") or {}
        if (error.get("code"), error.get("call_id")) != ("external_key_used", call_id):
            yield Wrong(name, call_id, f"its key once more was answered {one.answer}")
        if phones.operators[one.phone] or phones.clients[one.phone]:
            yield Wrong(name, call_id, "a phone rang for its key once more")
