"""What Postgres has of a node's calls, as the events that its journal had of them.

For a journal that holds less than it did, or nothing yet. Knows SQL, no connection and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from ccdaemon.store.facts import ActionFact, Event, RecordFact, StateFact
from ccdaemon.store.mapping import (
    ACTION,
    CALL,
    RECORD,
    STATE,
    action_row,
    grouped,
    record_of,
)
from ccdaemon.store.postgres import Database

#: Ms by which what a node told may be older than what it had told before: it is dated by Asterisk,
#: and told in the order in which it was heard.
MARGIN = 60_000

_NEWEST = """
SELECT ms(date) FROM (
    (SELECT event_id, date FROM state WHERE node = %(node)s ORDER BY event_id DESC LIMIT 1)
    UNION ALL
    (SELECT event_id, date FROM record WHERE node = %(node)s ORDER BY event_id DESC LIMIT 1)
    UNION ALL
    (SELECT event_id, date FROM action WHERE node = %(node)s ORDER BY event_id DESC LIMIT 1)
    UNION ALL
    (SELECT event_id, date FROM operator_change WHERE node = %(node)s
     ORDER BY event_id DESC LIMIT 1)
) told ORDER BY event_id DESC LIMIT 1
"""
_FIRST = "SELECT ms(since) FROM node WHERE node = %s"
_OPEN = "SELECT ms(date) FROM call WHERE node = %s AND NOT final"
# By the indexes of what is open and of when states were.
_CALLS = """
SELECT call_id FROM call WHERE node = %(node)s AND NOT final
UNION SELECT call_id FROM state WHERE node = %(node)s AND final AND date >= moment(%(since)s)
UNION SELECT call_id FROM call WHERE node = %(node)s AND call_id = ANY (%(held)s)
ORDER BY call_id
"""
_OF = "WHERE r.node = %s AND r.call_id = ANY (%s)"


async def lost_since(database: Database, node: str, longest: int) -> int:
    """From which moment (ms) on a node may have told of calls that Postgres does not know.

    No call that is open there has begun before it, but for one that is older than a call can be;
    and before its first start the node has told of nothing.

    :param longest: ms that a call may last.
    """
    ((first,),) = await database.query(_FIRST, (node,))
    newest = [int(date) for (date,) in await database.query(_NEWEST, {"node": node})]
    begun = [int(date) for (date,) in await database.query(_OPEN, (node,))]
    if not newest:
        return int(first)
    oldest = min([*newest, *(date for date in begun if date > newest[0] - longest)])
    return max(int(first), oldest - MARGIN)


async def calls_to_restore(
    database: Database, node: str, since: int, held: Sequence[int]
) -> list[int]:
    """The calls of a node that are open, have ended since a moment (ms), or are among ``held``."""
    asked = {"node": node, "since": since, "held": list(held)}
    return [call_id for (call_id,) in await database.query(_CALLS, asked)]


async def events_of_calls(database: Database, node: str, ids: Sequence[int]) -> list[list[Event]]:
    """All that a node told of calls: of each its events in order, CALL first.

    A state knows its call as it was in the end: how it was before is not kept.
    """
    asked = (node, list(ids))
    rows = await database.query(
        f"SELECT {CALL}, {STATE} FROM call c JOIN state r USING (call_id) {_OF}"
        " ORDER BY c.call_id, r.seq",
        asked,
    )
    found: dict[int, list[Event]] = {}
    for chain in grouped(rows, [], []):
        told = [Event(row.event_id, StateFact(row.state, chain.call)) for row in chain.states]
        # Where Postgres has refused its beginning, a call is nothing that could go on.
        if told[0].fact.opens:
            found[chain.call.call_id] = told
    recorded = await database.query(f"SELECT r.event_id, {RECORD} FROM record r {_OF}", asked)
    others = [Event(row[0], RecordFact(record_of(row[1:]))) for row in recorded]
    done = map(action_row, await database.query(f"SELECT {ACTION} FROM action r {_OF}", asked))
    others += [Event(row.event_id, ActionFact(row.action)) for row in done]
    for event in others:
        assert event.fact.call_id is not None
        # What is left of a call that was forgotten is no call.
        found.get(event.fact.call_id, []).append(event)
    return [sorted(each, key=lambda event: event.event_id) for each in found.values()]
