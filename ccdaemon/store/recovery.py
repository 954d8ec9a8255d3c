"""What a journal is told by the database: whether it is known, what is in use, which numbers.

Each of these can be repeated after a failure. Knows SQL, no connection and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from ccdaemon.operators import OperatorChange, Status
from ccdaemon.store.facts import ActionFact, Event, RecordFact, StateFact
from ccdaemon.store.journal import KEPT, Journal
from ccdaemon.store.mapping import ACTION, CALL, RECORD, STATE, action_row, grouped, record_of
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
_FORGOTTEN = "SELECT anchor, call_id, ms(date) FROM forgotten WHERE node = %s"
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


#: Numbers in a lease, as the database grants them; renewed when fewer than half are left.
LEASE = 10_000
#: Keys that are loaded at once, and calls.
KEYS, CALLS = 5_000, 200
#: Event ids that are passed over where a journal goes on as another did: what that one told while
#: Postgres was away nobody knows any more, and its ids must not be told again. More than a day
#: without Postgres brings.
GAP = 1_000_000

_LOAD_KEYS = """
SELECT external_key, call_id FROM (
    (SELECT external_key, call_id FROM call
     WHERE call_id > %(after)s AND external_key IS NOT NULL ORDER BY call_id LIMIT %(many)s)
    UNION ALL
    (SELECT external_key, call_id FROM spent_key
     WHERE call_id > %(after)s ORDER BY call_id LIMIT %(many)s)
) used ORDER BY call_id LIMIT %(many)s
"""
# The newest row of each operator by one look into the index each, however long the log is.
_LAST_CHANGES = """
WITH RECURSIVE one AS (
    SELECT max(sip) AS sip FROM operator_change
    UNION ALL
    SELECT (SELECT max(c.sip) FROM operator_change c WHERE c.sip < one.sip)
    FROM one WHERE one.sip IS NOT NULL
)
SELECT c.sip, c.state, c.device_state, c.call_id, ms(c.date), c.detail, c.paused, c.pause_reason
FROM one CROSS JOIN LATERAL (
    SELECT * FROM operator_change c WHERE c.sip = one.sip ORDER BY date DESC, event_id DESC LIMIT 1
) c
"""

# The journal's own, or that of the one that was this Asterisk's before.
_FORMER = """
SELECT node FROM node WHERE node = %(node)s OR asterisk = %(asterisk)s
ORDER BY node = %(node)s DESC, seen DESC LIMIT 1
"""

_log = Logger()


async def found(journal: Journal, database: Database, asterisk: str, now: int) -> None:
    """Let a new journal begin, as the node that was last of its Asterisk, if there was one.

    The same for one that has lost its end: then it goes on with what Postgres has.

    :param asterisk: as its lock names it; the lock is ours.
    :param now: ms.
    """
    if journal.begun:
        return
    loaded = await _load_keys(journal, database)
    ((above,),) = await database.query("SELECT coalesce(max(last_event_id), 0) FROM node")
    calls = 0
    nodes = await database.query(_FORMER, {"node": journal.node, "asterisk": asterisk})
    if nodes:
        ((node,),) = nodes
        above += GAP
        # Before it begins: what comes then is meant to be missing there.
        await database.query("UPDATE node SET last_event_id = %s WHERE node = %s", (above, node))
        await journal.take_over(node)
        calls = await _restore_calls(journal, database, above, now)
    rows = await database.query(_LAST_CHANGES)
    changes = [OperatorChange(sip, Status(state), *rest) for sip, state, *rest in rows]
    # Before it begins, so that whoever sees it begun can make calls.
    await lease(journal, database)
    await journal.begin(above, changes)
    _log.info(
        "a new journal begins: node {node}, events after {above}, {keys} keys in use, {calls} calls"
        " taken over",
        node=journal.node,
        above=above,
        keys=loaded,
        calls=calls,
    )


async def _load_keys(journal: Journal, database: Database) -> int:
    loaded = last = 0
    while keys := await database.query(_LOAD_KEYS, {"after": last, "many": KEYS}):
        await journal.load_keys([(key, call_id) for key, call_id in keys])
        loaded, last = loaded + len(keys), keys[-1][1]
    return loaded


async def _restore_calls(journal: Journal, database: Database, above: int, now: int) -> int:
    """Hold the calls again that the journal would hold: those open, and those of the last day."""
    since = await lost_since(database, journal.node, KEPT)
    held = [chain.call.call_id for chain in await journal.open_calls()]
    # All that could be met again where things are read once more from that moment on.
    wanted = await calls_to_restore(database, journal.node, min(since, now - KEPT), held)
    for start in range(0, len(wanted), CALLS):
        some = await events_of_calls(database, journal.node, wanted[start : start + CALLS])
        await journal.restore_calls(some, above)
    await journal.load_forgotten(
        [
            (anchor, call_id, date)
            for anchor, call_id, date in await database.query(_FORGOTTEN, (journal.node,))
        ]
    )
    await journal.lose_offsets(since)
    return len(wanted)


async def checkpoint(journal: Journal, database: Database, asterisk: str, now: int) -> int:
    """The event up to which the database has what this journal had; the rest as :func:`found`."""
    await database.query(
        "INSERT INTO node (node, last_event_id, asterisk, seen) VALUES (%s, %s, %s, now())"
        " ON CONFLICT (node) DO UPDATE SET asterisk = excluded.asterisk, seen = now()",
        (journal.node, journal.low_watermark, asterisk),
    )
    ((known,),) = await database.query(
        "SELECT last_event_id FROM node WHERE node = %s", (journal.node,)
    )
    if known > journal.high_watermark:
        _log.error(
            "the journal ends at event {head}, but Postgres has its events up to {known}: the file"
            " is an older copy, or has lost its end. It goes on from what Postgres has",
            head=journal.high_watermark,
            known=known,
        )
        await journal.begin_anew()
        await found(journal, database, asterisk, now)
        return journal.low_watermark
    if known < journal.low_watermark:
        _log.error(
            "Postgres lacks the events after {known} to {floor}, which the journal has forgotten:"
            " it is another database than before, or an older copy",
            known=known,
            floor=journal.low_watermark,
        )
        await database.query(
            "UPDATE node SET last_event_id = greatest(last_event_id, %s) WHERE node = %s",
            (journal.low_watermark, journal.node),
        )
        return journal.low_watermark
    return int(known)


async def hold_leases(journal: Journal, database: Database) -> None:
    """Have the database know the numbers that are left here; give up what is another node's."""
    for lo, hi in journal.leases:
        sql, params = "SELECT hold_lease(%s, %s, %s)", (journal.node, lo, hi)
        ((is_ours,),) = await database.query(sql, params)
        if not is_ours:
            await journal.drop_lease(lo, hi)
            _log.error(
                "call numbers {lo} to {hi} are another node's by this database, and are not used"
                " any more: it was put back from a copy, or is another one than before",
                lo=lo,
                hi=hi,
            )


async def lease(journal: Journal, database: Database) -> None:
    """Take call numbers, if fewer than half a lease are left."""
    if journal.numbers_left >= LEASE // 2:
        return
    ((lo, hi),) = await database.query(
        "SELECT lo, hi FROM take_lease(%s, %s)", (journal.top_number, journal.node)
    )
    await journal.grant(lo, hi)
    _log.info("call numbers {lo} to {hi} were granted", lo=lo, hi=hi)
