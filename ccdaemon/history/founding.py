"""What a journal is told by the database: whether it is known, what is in use, which numbers.

Each of these can be repeated after a failure. Knows SQL, no connection and no clock.
"""

from __future__ import annotations

from twisted.logger import Logger

from ccdaemon.history.journal import Journal
from ccdaemon.history.postgres import Database
from ccdaemon.operators import OperatorChange, Status

#: Numbers in a lease, as the database grants them; renewed when fewer than half are left.
LEASE = 10_000
#: Keys that are loaded at once.
KEYS = 5_000

_LOAD_KEYS = """
SELECT external_key, call_id FROM call
WHERE call_id > %s AND external_key IS NOT NULL ORDER BY call_id LIMIT %s
"""
# The newest row of each operator by one look into the index each, however long the log is.
_LAST_CHANGES = """
WITH RECURSIVE one AS (
    SELECT max(sip) AS sip FROM operator_change
    UNION ALL
    SELECT (SELECT max(c.sip) FROM operator_change c WHERE c.sip < one.sip)
    FROM one WHERE one.sip IS NOT NULL
)
SELECT c.sip, c.state, c.device_state, c.call_id, ms(c.date), c.detail
FROM one CROSS JOIN LATERAL (
    SELECT * FROM operator_change c WHERE c.sip = one.sip ORDER BY date DESC, event_id DESC LIMIT 1
) c
"""

_log = Logger()


async def found(journal: Journal, database: Database) -> None:
    """Let a new journal begin: load the keys in use, and where ids and operators stand."""
    if journal.begun:
        return
    loaded = last = 0
    while keys := await database.query(_LOAD_KEYS, (last, KEYS)):
        await journal.load_keys([(key, call_id) for key, call_id in keys])
        loaded, last = loaded + len(keys), keys[-1][1]
    ((above,),) = await database.query("SELECT coalesce(max(last_event_id), 0) FROM node")
    rows = await database.query(_LAST_CHANGES)
    changes = [OperatorChange(sip, Status(state), *rest) for sip, state, *rest in rows]
    # Before it begins, so that whoever sees it begun can make calls.
    await lease(journal, database)
    await journal.begin(above, changes)
    _log.info(
        "a new journal begins: node {node}, events after {above}, {keys} keys in use",
        node=journal.node,
        above=above,
        keys=loaded,
    )


async def position(journal: Journal, database: Database) -> int:
    """The event up to which the database has what this journal had."""
    await database.query(
        "INSERT INTO node (node, last_event_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (journal.node, journal.floor),
    )
    ((known,),) = await database.query(
        "SELECT last_event_id FROM node WHERE node = %s", (journal.node,)
    )
    if known > journal.head:
        await _pass_over(journal, database, known)
    elif known < journal.floor:
        _log.error(
            "Postgres lacks the events after {known} to {floor}, which the journal has forgotten:"
            " it is another database than before, or an older copy",
            known=known,
            floor=journal.floor,
        )
        await database.query(
            "UPDATE node SET last_event_id = greatest(last_event_id, %s) WHERE node = %s",
            (journal.floor, journal.node),
        )
        return journal.floor
    return int(known)


async def _pass_over(journal: Journal, database: Database, known: int) -> None:
    """Go on above what was lost here: the journal's file is older than it was."""
    _log.error(
        "the journal ends at event {head}, but Postgres has its events up to {known}: the file is"
        " an older copy, or has lost its end",
        head=journal.head,
        known=known,
    )
    ((call_id,),) = await database.query(
        "SELECT coalesce(max(call_id), 0) FROM call WHERE node = %s", (journal.node,)
    )
    await journal.pass_over(known, call_id)


async def lease(journal: Journal, database: Database) -> None:
    """Take call numbers, if fewer than half a lease are left."""
    if journal.numbers_left >= LEASE // 2:
        return
    ((lo, hi),) = await database.query("SELECT lo, hi FROM take_lease(%s)", (journal.top_number,))
    await journal.grant(lo, hi)
    _log.info("call numbers {lo} to {hi} were granted", lo=lo, hi=hi)
