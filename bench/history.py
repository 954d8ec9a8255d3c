"""What a page costs in a history of ten million states, against the same page in a small one.

    python -m bench.history [--dir DIR] [--states N]        default 10,000,000

Fills two databases of a private Postgres, equally dense in time, and asks both for the same
pages in turn. Prints medians. Takes some minutes and about 600 bytes of disk a state.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from ccdaemon.calls.model import Direction
from ccdaemon.clocks import WallClock
from ccdaemon.store.migrate import migrate
from ccdaemon.store.pg_address import Address, look_up
from ccdaemon.store.pg_link import Link
from ccdaemon.store.postgres import Database
from ccdaemon.store.queries import MISSED, OPERATORS, RECORDS, STATES, Queries
from ccdaemon.store.records import STATES_ALONE, Filter
from lab.postgres import Postgres

#: Rows of the small base: enough that the deepest page that may be asked for has its rows there.
SMALL = 130_000
CHUNK = 300_000
ROUNDS = 25
#: The moment of the newest call, 2023-11-14T22:13:20Z, and ms between two calls: 75,000 states a
#: day.
END = 1_700_000_000_000
STEP = 6_900
DAY = 86_400_000

_FILL = """
INSERT INTO node VALUES ('abcdef', 0) ON CONFLICT DO NOTHING;
INSERT INTO call (
    call_id, node, event_id, order_id, external_key, direction, sip, phone, state, final, date,
    answered, ended, ring_seconds, wait_seconds, talk_seconds, hung_up_by, cause, did
)
SELECT n, 'abcdef', n * 8 + 5, 'order-' || n / 3, 'key-' || n,
    CASE WHEN n %% 10 < 3 THEN 'inbound' ELSE 'outbound' END, (1000 + n %% 100)::text,
    '38063' || n::bigint * 7919 %% 100000, 'FINISH', true, moment(at),
    CASE WHEN n %% 10 <> 1 THEN moment(at + 20000) END, moment(at + 60000), 5, 4, 40, 'client',
    16, CASE WHEN n %% 10 < 3 THEN '38044000000' || n %% 4 END
FROM generate_series(%(lo)s, %(hi)s) n,
    LATERAL (SELECT %(end)s - (%(all)s - n)::bigint * %(step)s) m (at);
INSERT INTO state
SELECT call_id, seq, node, call_id::bigint * 8 + seq - 1,
    (ARRAY['CALL', 'OPERATOR_CALLTO', 'OPERATOR_PICKUP', 'CLIENT_CALLTO', 'CLIENT_PICKUP',
           'FINISH'])[seq],
    seq = 6, null, sip, date + seq * interval '7 seconds', null, null, direction, phone
FROM call, generate_series(1, 6) seq WHERE call_id BETWEEN %(lo)s AND %(hi)s;
INSERT INTO record
SELECT call_id, 'cc-abcdef-' || call_id || '-o', node, call_id::bigint * 8 + 6, 'p', 'wav', 320044,
    20, ended, sip, direction, phone
FROM call WHERE call_id BETWEEN %(lo)s AND %(hi)s;
INSERT INTO operator_change
SELECT node, call_id::bigint * 8 + 7, sip, 'inuse', 'INUSE', call_id, date, null
FROM call WHERE call_id BETWEEN %(lo)s AND %(hi)s;
"""

# Row by row, as while shipping, it would take long in transactions as great as these.
_BEFORE = "ALTER TABLE call DISABLE TRIGGER call_missed, DISABLE TRIGGER call_reached"
_AFTER = """
INSERT INTO missed (
    call_id, event_id, date, sip, direction, phone, did, called_back, back_date, back_sip,
    called_again, again_date, again_sip
)
SELECT c.call_id, c.event_id, c.date, c.sip, r.how, c.phone, c.did, r.called_back, r.back_date,
    r.back_sip, r.called_again, r.again_date, r.again_sip
FROM call c CROSS JOIN LATERAL reached(c.phone, c.date) r
WHERE c.direction = 'inbound' AND c.final AND c.answered IS NULL;
ALTER TABLE call ENABLE TRIGGER call_missed, ENABLE TRIGGER call_reached;
"""

Page = Callable[[Queries], Awaitable[object]]


def pages(calls: int) -> dict[str, Page]:
    """The pages that are asked for, in a base of so many calls."""
    states = {
        "states, first page": (1, 50, Filter()),
        "states, 1000 rows": (1, 1000, Filter()),
        "states, 100,000 rows deep": (2000, 50, Filter()),
        "states of an operator": (1, 50, Filter(sip="1042")),
        "states of an operator, 1,000 rows deep": (20, 50, Filter(sip="1042")),
        "states, one direction": (1, 50, Filter(direction=Direction.INBOUND)),
        "states, one direction, 30,000 rows deep": (600, 50, Filter(direction=Direction.INBOUND)),
        "states, from and to": (1, 50, Filter(from_ms=END - DAY - 12345, to_ms=END - 54321)),
        "states, from the beginning on": (1, 50, Filter(to_ms=END - 54321)),
        "states, all that time, 50,000 deep": (
            1000,
            50,
            Filter(from_ms=END - calls * STEP + 12345, to_ms=END - 54321),
        ),
        "states of an operator, that time": (
            1,
            50,
            Filter(sip="1042", from_ms=END - calls * STEP + 12345, to_ms=END - 54321),
        ),
        "states of a client": (1, 50, Filter(phone="38063" + str(calls * 7919 % 100000))),
        "states of an order": (1, 50, Filter(order_id=f"order-{calls // 3}")),
    }
    found: dict[str, Page] = {name: _page(STATES, *asked) for name, asked in states.items()}
    found["recordings, first page"] = _page(RECORDS, 1, 50, Filter())
    found["recordings, 20,000 rows deep"] = _page(RECORDS, 400, 50, Filter())
    found["recordings of an operator"] = _page(RECORDS, 1, 50, Filter(sip="1042"))
    found["operators, first page"] = _page(OPERATORS, 1, 50, Filter())
    found["operators, 20,000 rows deep"] = _page(OPERATORS, 400, 50, Filter())
    found["operators, one"] = _page(OPERATORS, 1, 50, Filter(sip="1042"))
    for name, asked in {
        "missed calls, first page": (1, 50, Filter()),
        "missed calls, 2,000 rows deep": (40, 50, Filter()),
        "missed calls not called back": (1, 50, Filter(open=True)),
        "missed calls, from and to": (1, 50, Filter(from_ms=END - DAY - 12345, to_ms=END - 54321)),
        "missed calls of a client": (1, 50, Filter(phone="38063" + str(calls * 7919 % 100000))),
        "missed calls of a number of ours": (1, 50, Filter(did="380440000001")),
    }.items():
        found[name] = _page(MISSED, *asked)
    found["a call"] = lambda queries: queries.call(calls // 2)
    found["a call by its key"] = lambda queries: queries.by_key(f"key-{calls // 2}")
    found["an order's chains"] = lambda queries: queries.of_order(
        f"order-{calls // 6}", Filter(), 2000
    )
    found["an order's states"] = lambda queries: queries.states_of_order(
        f"order-{calls // 6}", Filter(), 12_000
    )
    found["after=, 1000 states"] = lambda queries: queries.after(
        "abcdef", calls * 4, calls * 8, 1000, Filter(), STATES_ALONE
    )
    return found


def _page(what: object, page: int, per_page: int, filter: Filter) -> Page:
    return lambda queries: queries.page(what, page, per_page, filter)  # type: ignore[arg-type]


async def _made(link: Link) -> None:
    await migrate(link)


async def filled(url: str, calls: int) -> Queries:
    """A database with so many calls, as after some quiet time."""
    database = Database(
        IReactorFDSet(reactor),
        reactor,
        WallClock(reactor),
        Address(url),
        lambda host: deferToThread(look_up, host),
    )
    database.prepare(_made)
    database.startService()
    await database.when_up()

    async def fill(lo: int) -> None:
        hi = min(calls, lo + CHUNK - 1)
        params = {"lo": lo, "hi": hi, "all": calls, "end": END, "step": STEP}
        await database.transaction(lambda one: one.query(_FILL, params), 3600.0)
        print(f"{hi * 6:,} states", file=sys.stderr)

    await database.transaction(lambda one: one.query(_BEFORE))
    for lo in range(1, calls + 1, CHUNK):
        await fill(lo)
    await database.transaction(lambda one: one.query(_AFTER), 3600.0)
    return Queries(database)


async def main(_: object, argv: list[str]) -> None:
    """Fill, ask and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--states", type=int, default=10_000_000)
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=chosen.dir) as folder:
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder) / "postgres")
        try:
            postgres.start()
            await compare(postgres, chosen.states // 6)
        finally:
            postgres.close()


async def compare(postgres: Postgres, calls: int) -> None:
    """Ask both bases for every page in turn."""
    few = SMALL // 6
    bases = []
    for name, count in (("small", few), ("great", calls)):
        queries = await filled(postgres.create_database(name), count)
        postgres.sql("VACUUM ANALYZE", name)
        bases.append((queries, pages(count)))
    size = postgres.sql("SELECT pg_size_pretty(pg_database_size('great'))")
    print(f"{calls * 6:,} states ({size}) against {few * 6:,}; median of {ROUNDS}, ms")
    print("| page | small | great | ratio |\n|---|---|---|---|")
    for name in bases[0][1]:
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for taken, (queries, asked) in zip(times, bases, strict=True):
                began = time.perf_counter()
                await asked[name](queries)
                taken.append((time.perf_counter() - began) * 1000)
        small, great = (statistics.median(taken) for taken in times)
        print(f"| {name} | {small:.1f} | {great:.1f} | {great / small:.1f} |", flush=True)


if __name__ == "__main__":
    react(lambda reactor, argv: Deferred.fromCoroutine(main(reactor, argv)), (sys.argv[1:],))
