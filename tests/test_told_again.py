"""Tests of the check that every live test ends with: it finds what is told otherwise."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.told_again import Again
from tests.store.parts import ANSWERED

TRACE = Path(__file__).parent / "traces" / "22-pjsip" / "talk_client_hangs_up.cel"
LEAVES = TRACE.with_name("both_leave_at_once.cel")
TALK = [state.value for state in ANSWERED]
LATER = 4_000_000_000_000


class AgainTests(SynchronousTestCase):
    """One call, from its recorded log."""

    def setUp(self) -> None:
        """Have an Asterisk that has written something before."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.log = self.folder / "Master.csv"
        self.log.write_text('"of before"\n')
        self.asterisk = SimpleNamespace(
            cel_file_on_host=self.log, pid=7, operator_channel="PJSIP/{sip}"
        )
        self.again = Again(cast(Any, self.asterisk))
        self.rows = TRACE.read_text("utf-8")
        found = re.search(r"cc-[0-9a-f]+-[0-9]+-o", self.rows)
        assert found is not None
        self.anchor = found[0]

    def tell(self, chain: Sequence[str], detail: str = "", by: str = "client") -> None:
        """The daemon has told a call."""
        call = {"direction": "outbound", "sip": "1000", "phone": "380639920000", "cause": 16}
        call |= {"anchor": self.anchor, "hung_up_by": by}
        with closing(sqlite3.connect(self.folder / "journal.sqlite")) as journal:
            journal.execute(
                "CREATE TABLE event (event_id INTEGER PRIMARY KEY, kind, call_id, body)"
            )
            for state in chain:
                state, _, leg = state.partition(" of ")
                told = {"state": state, "date": LATER, "leg": leg or "operator", "detail": detail}
                told["final"] = state == chain[-1].partition(" of ")[0]
                body = json.dumps({"state": told, "call": call})
                journal.execute("INSERT INTO event VALUES (NULL, 'state', 1, ?)", (body,))
            journal.commit()

    def write(self, rows: str) -> None:
        """Asterisk writes."""
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(rows)

    def test_the_same(self) -> None:
        """Nothing is found."""
        self.tell(TALK)
        self.write(self.rows)
        self.assertEqual(self.again.otherwise(self.folder), [])

    def test_otherwise(self) -> None:
        """A state too few, or another end, is."""
        self.tell([*TALK[:-2], "CLIENT_BUSY"])
        self.write(self.rows)
        [said] = self.again.otherwise(self.folder)
        self.assertIn("'CLIENT_PICKUP', 'FINISH'] instead of", said)

    def test_a_state_that_never_was(self) -> None:
        """In the middle, also where the end cannot be known."""
        for by, detail in (("api", ""), ("client", "rejected: no"), ("client", "")):
            self.tell([*TALK[:3], "OPERATOR_PICKUP", *TALK[3:]], detail, by)
            self.write(self.rows)
            self.assertEqual(len(self.again.otherwise(self.folder)), 1)
            (self.folder / "journal.sqlite").unlink()

    def test_what_the_log_cannot_know(self) -> None:
        """The end, where the API made it."""
        self.tell([*TALK[:-1], "ERROR"], by="api")
        self.write(self.rows)
        self.assertEqual(self.again.otherwise(self.folder), [])

    def test_the_end_while_the_client_rings(self) -> None:
        """The same, before anybody has answered."""
        rows = LEAVES.read_text("utf-8").splitlines(keepends=True)
        self.anchor = "cc-ba1c5b-21-o"
        self.write("".join(row for row in rows if '"AppDial"' not in row and "BRIDGE" not in row))
        before = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO"]
        self.tell([*before, "CLIENT_NOANSWER"], by="api")
        self.assertEqual(self.again.otherwise(self.folder), [])

    def test_who_was_passed_over(self) -> None:
        """Whoever was not rung is not in the log, and did not have to be; who was, does."""
        self.tell(["CALL", "OPERATOR_OFFLINE of another", *TALK[1:]])
        self.write(self.rows)
        self.assertEqual(self.again.otherwise(self.folder), [])
        (self.folder / "journal.sqlite").unlink()
        self.tell(["CALL", "OPERATOR_CALLTO of another", "OPERATOR_OFFLINE of another", *TALK[1:]])
        self.assertEqual(len(self.again.otherwise(self.folder)), 1)

    def test_an_operator_who_leaves_at_once(self) -> None:
        """Whom the dialplan was to call next it has told one of the two, and not the other."""
        rows = [
            row
            for row in LEAVES.read_text("utf-8").splitlines(keepends=True)
            if "trunk-" not in row and "ccdaemon-dial" not in row
        ]
        self.anchor = "cc-ba1c5b-21-o"
        before = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP"]
        self.write("".join(rows))
        for told in ([*before, "CLIENT_CALLTO", "OPERATOR_BUSY"], [*before, "OPERATOR_BUSY"]):
            self.tell(told, by="operator")
            self.assertEqual(self.again.otherwise(self.folder), [])
            (self.folder / "journal.sqlite").unlink()
        self.tell([*before, "CLIENT_CALLTO", "CLIENT_BUSY"], by="operator")
        self.assertEqual(len(self.again.otherwise(self.folder)), 1)

    def test_not_written_yet(self) -> None:
        """A call of which the end is missing is not the same."""
        self.tell(TALK)
        self.write("".join(self.rows.splitlines(keepends=True)[:4]))
        self.assertEqual(len(self.again.otherwise(self.folder)), 1)

    def test_another_file(self) -> None:
        """Nobody can tell, where it is not the same Asterisk or file."""
        self.assertTrue(self.again.is_whole)
        self.asterisk.pid = 8
        self.assertFalse(self.again.is_whole)
        self.asterisk.pid = 7
        self.log.write_text("")
        self.assertFalse(self.again.is_whole)
