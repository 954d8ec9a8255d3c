"""Everything that the journal holds is in Postgres, once.

Reads both files of the history as they are, beside the daemon; judges no call.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from ccdaemon.store.journal_file import NAME
from lab.postgres import Postgres
from tests.faults.marks import Wrong

#: The table of each kind of fact.
TABLES = {
    "state": "state",
    "operator": "operator_change",
    "record": "record",
    "action": "action",
}
Place = tuple[str, int]


def in_the_journal(state_dir: Path) -> tuple[str, list[Place]]:
    """The node, and its facts: the kind and the event of each.

    The daemon has the file to itself: what is read is a copy of it and of its log.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in (NAME, f"{NAME}-wal"):
            if (state_dir / name).exists():
                shutil.copy(state_dir / name, folder)
        with closing(sqlite3.connect(Path(folder) / NAME)) as journal:
            ((node,),) = journal.execute("SELECT node FROM journal")
            return node, journal.execute("SELECT kind, event_id FROM event").fetchall()


def in_postgres(postgres: Postgres, database: str, node: str) -> list[Place]:
    """What Postgres has of a node."""
    asked = " UNION ALL ".join(
        f"SELECT '{kind}', event_id FROM {table} WHERE node = '{node}'"
        for kind, table in TABLES.items()
    )
    rows = (line.split("|") for line in postgres.sql(asked, database).splitlines())
    return [(kind, int(event_id)) for kind, event_id in rows]


def not_as_told(told: Iterable[Place], arrived: Iterable[Place]) -> Iterator[Wrong]:
    """What is missing of what was told, and what has come more than once."""
    counts = Counter(arrived)
    for missing in sorted(set(told) - counts.keys()):
        yield Wrong("not in Postgres", None, f"{missing[0]}, event {missing[1]}")
    for twice in sorted(place for place, count in counts.items() if count > 1):
        yield Wrong("twice in Postgres", None, f"{twice[0]}, event {twice[1]}")
