"""What is due is removed by itself: rows and files made old, the job, and what is left of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from tests.integration.desk import EVERYTHING, FIRST, SECOND, SHORT, THIRD, DeskTestCase
from tests.integration.test_health import HealthCase

#: Days that something has been over.
LONG_AGO, LATELY = 10, 2

#: Everything that is known of a call, so many days earlier. Rows of the list of states are put in
#: anew, as their number by day is counted when they come and go.
_OLD = """
CREATE TEMP TABLE aged AS SELECT * FROM state WHERE call_id = {call_id};
DELETE FROM state WHERE call_id = {call_id};
UPDATE aged SET date = date - interval '{days} days';
INSERT INTO state SELECT * FROM aged;
UPDATE call SET date = date - interval '{days} days', answered = answered - interval '{days} days',
    ended = ended - interval '{days} days' WHERE call_id = {call_id};
UPDATE record SET date = date - interval '{days} days', path = '{path}' WHERE call_id = {call_id};
UPDATE missed SET date = date - interval '{days} days' WHERE call_id = {call_id};
UPDATE action SET date = date - interval '{days} days' WHERE call_id = {call_id};
"""
_OLD_CHANGES = f"""
CREATE TEMP TABLE aged AS SELECT * FROM operator_change;
DELETE FROM operator_change;
UPDATE aged SET date = date - interval '{LONG_AGO} days';
INSERT INTO operator_change SELECT * FROM aged;
"""
_OF_CALLS = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name = 'call_id' AND table_name <> 'spent_key'
"""


class Due(DeskTestCase, HealthCase):
    """Recordings are kept for a day, the history for three."""

    shared = False
    timeout = 240
    lasts = 20.0
    tables: ClassVar[Mapping[str, Any]] = {
        **DeskTestCase.tables,
        "clients": [
            {"name": "crm", "networks": ["127.0.0.0/8"], "permissions": [*EVERYTHING, "audit"]}
        ],
        "retention": {"recordings_days": 1, "history_days": 3},
    }

    def setUp(self) -> None:
        """Know where recordings are kept."""
        super().setUp()
        self.root: Path = self.lab.asterisk.recordings_on_host

    def sql(self, statement: str) -> list[str]:
        """Ask the daemon's database; the rows."""
        database = str(self.daemon.tables["database"]["url"]).rpartition("/")[2]
        return self.lab.postgres.sql(statement, database).splitlines()

    def make_old(self, call_id: int, days: int, path: str = "") -> Path:
        """Let a call be so many days older, and its recording, if it has one; the new file."""
        day = datetime.now(UTC) - timedelta(days=days)
        aged = Path(f"{day:%Y/%m/%d}") / Path(path).name
        self.sql(_OLD.format(call_id=call_id, days=days, path=aged))
        if path:
            (self.root / aged).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).rename(self.root / aged)
        return self.root / aged

    async def ran(self) -> dict[str, float]:
        """All numbers, once the job has run."""
        numbers = await self.numbers()
        return numbers if numbers["ccdaemon_retention_last_run_seconds{}"] else {}

    async def test_nothing_is_left(self) -> None:
        """A call of long ago goes with all that is known of it, a late one's recording alone."""
        key = secrets.token_hex(8)
        old = await self.called(FIRST, self.new_phone(SHORT), external_key=key)
        late = await self.called(SECOND, self.new_phone(SHORT))
        new = await self.called(THIRD, self.new_phone(SHORT))
        missed = await self.miss(self.new_phone())
        await self.ask("setResult", call_id=old, result="sold")
        records = {call_id: await self.recorded(call_id) for call_id in (old, late, new)}
        for record in records.values():
            self.assertEqual((await self.request(f"/mp3/{record['uniqueid']}.mp3"))[0], 200)
        await self.wait_for(self.listened, 10, "three who listened, in Postgres")
        self.daemon.stop()
        gone = [
            self.make_old(call_id, days, records[call_id]["path"])
            for call_id, days in ((old, LONG_AGO), (late, LATELY))
        ]
        self.make_old(missed, LONG_AGO)
        unnamed = gone[0].with_name("cc-nobody-1-o.wav")
        unnamed.write_bytes(b"RIFF")
        self.sql(_OLD_CHANGES)
        changes = self.count("operator_change")
        for file in self.daemon.state_dir.glob("journal.sqlite*"):
            file.unlink()
        # The channel log is of today: without a journal what it has of them would be told as new.
        self.daemon.configure(asterisk={"cel_file": str(self.daemon.folder / "none.csv")})
        self.daemon.start()
        # Calls are made meanwhile; the job begins a minute after the start.
        later = await self.called(FIRST, self.new_phone(SHORT))
        records[later] = await self.recorded(later)
        self.assertTrue(all(file.exists() for file in (*gone, unnamed)))
        numbers = await self.wait_for(self.ran, 90, "what is due was removed")

        self.assertEqual([path for path in (*gone, unnamed) if path.parent.exists()], [])
        mp3 = {file.stem for file in (self.daemon.state_dir / "mp3").iterdir()}
        self.assertEqual(mp3, {records[new]["uniqueid"]})
        for table in self.sql(_OF_CALLS):
            where = f"WHERE call_id IN ({old}, {missed})"
            self.assertEqual(self.count(table, where), 0, table)
        self.assertEqual(self.count("tally", "WHERE n < 0"), 0)
        aged = self.count("operator_change", "WHERE date < now() - interval '3 days'")
        expected = {"calls": 2, "recordings": 2, "unnamed_files": 1}
        expected["operator_changes"] = changes - aged
        self.assertGreater(changes - aged, 0)
        for what, count in expected.items():
            self.assertEqual(numbers[f'ccdaemon_retention_removed_total{{what="{what}"}}'], count)
        self.assertEqual(numbers["ccdaemon_retention_failed{}"], 0)
        ran = numbers["ccdaemon_retention_last_run_seconds{}"]
        self.assertApproximates(ran, time.time(), 60)
        await self.check_answers(old, late, {new, later})
        again = {"sip": FIRST, "phone": self.new_phone(), "order_id": "15", "external_key": key}
        used = (await self.api("makeCall", **again))["error"]
        self.assertEqual((used["code"], used["call_id"]), ("external_key_used", old))

    async def listened(self) -> bool:
        """Whether it is kept of three that they listened."""
        return bool((await self.ask("listenLog"))["total"] == 3)

    def count(self, table: str, where: str = "") -> int:
        """How many rows there are."""
        [rows] = self.sql(f"SELECT count(*) FROM {table} {where}")
        return int(rows)

    async def check_answers(self, old: int, late: int, whole: set[int]) -> None:
        """What the API says of them: nothing of the old one, no recording of the late one."""
        await self.refused(404, "call_unknown", "call", call_id=old)
        rows = await self.ask("callHistory", after=0, limit=1000)
        self.assertEqual({row["call_id"] for row in rows}, {late, *whole})
        self.assertEqual((await self.api("callHistory", per_page=1000))["total"], len(rows))
        listed = await self.ask("recordList", per_page=1000)
        self.assertEqual({row["call_id"] for row in listed["data"]}, whole)
        self.assertEqual(listed["total"], len(whole))
        self.assertEqual((await self.ask("missedCalls"))["total"], 0)
        for call_id, status in ((old, 404), (late, 404), *((one, 200) for one in whole)):
            self.assertEqual((await self.request(f"/api/record/{call_id}.wav"))[0], status)
