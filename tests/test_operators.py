"""Operators: every change told once, nothing invented while nobody can look."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.operators import STATUS, UNSEEN, OperatorChange, Operators, Status


def nobody(sip: str) -> int | None:
    """No operator is on a call."""
    return None


class OperatorsTests(SynchronousTestCase):
    """What is known of operators."""

    def test_the_first_look_tells_only_what_differs(self) -> None:
        """Who is as the last row of the history says is not told again, and since then."""
        last = {
            "1000": OperatorChange("1000", Status.ONLINE, "NOT_INUSE", None, 500, None),
            "1001": OperatorChange("1001", Status.ONLINE, "NOT_INUSE", None, 500, None),
        }
        operators = Operators()
        operators.remember(last)
        changes = operators.looked({"1000": "NOT_INUSE", "1001": "UNAVAILABLE"}, 900, nobody)
        self.assertEqual(
            changes, [OperatorChange("1001", Status.OFFLINE, "UNAVAILABLE", None, 900, UNSEEN)]
        )
        self.assertEqual([view.since for view in operators.views(nobody)], [500, 900])

    def test_every_change_is_told_once(self) -> None:
        """The finer device state counts as a change, an echo does not."""
        operators = Operators()
        operators.looked({"1000": "NOT_INUSE"}, 1, nobody)
        told = [
            change
            for state in ("RINGING", "RINGING", "INUSE", "NOT_INUSE")
            for change in operators.seen("1000", state, 2, 12)
        ]
        self.assertEqual(
            [(change.state.value, change.device_state) for change in told],
            [("inuse", "RINGING"), ("inuse", "INUSE"), ("online", "NOT_INUSE")],
        )
        self.assertEqual({change.call_id for change in told}, {12})

    def test_since_is_the_status_not_the_device_state(self) -> None:
        """From ringing to talking an operator is in use all the time."""
        operators = Operators()
        operators.seen("1000", "RINGING", 100)
        operators.seen("1000", "INUSE", 200)
        self.assertEqual(operators.views(nobody)[0].since, 100)

    def test_views(self) -> None:
        """Sorted by sip, each with the call they are on; stale until a look was had."""
        operators = Operators()
        operators.seen("1001", "INUSE", 1)
        operators.seen("1000", "WHATEVER", 1)
        views = operators.views({"1001": 12}.get)
        self.assertEqual(
            [(v.sip, v.status, v.call_id, v.stale) for v in views],
            [("1000", Status.OFFLINE, None, True), ("1001", Status.INUSE, 12, True)],
        )
        operators.looked({"1001": "INUSE"}, 2, nobody)
        self.assertEqual([v.stale for v in operators.views(nobody)], [False])

    def test_blindness_is_a_row_of_its_own(self) -> None:
        """While nobody can look the last status stands, marked stale; the history says so once."""
        operators = Operators()
        operators.looked({"1000": "NOT_INUSE"}, 1, nobody)
        first = operators.blind(5, "no session")
        self.assertEqual(
            first, [OperatorChange("1000", Status.UNKNOWN, None, None, 5, "no session")]
        )
        self.assertEqual(operators.blind(6, "no session"), [])
        self.assertIs(operators.status("1000"), Status.ONLINE)
        self.assertTrue(operators.views(nobody)[0].stale)
        self.assertTrue(operators.stale)
        back = operators.looked({"1000": "NOT_INUSE"}, 9, nobody)
        self.assertEqual([change.state for change in back], [Status.ONLINE])

    def test_a_look_knows_the_call(self) -> None:
        """What a look finds is told with the call the operator is on, and later without excuse."""
        operators = Operators()
        operators.looked({}, 1, nobody)
        found = operators.looked({"1000": "INUSE"}, 2, {"1000": 12}.get)
        self.assertEqual(found, [OperatorChange("1000", Status.INUSE, "INUSE", 12, 2, None)])

    def test_endpoints_come_and_go(self) -> None:
        """Who is no longer in Asterisk's configuration is told once and is gone."""
        operators = Operators()
        operators.looked({"1000": "NOT_INUSE", "1001": "NOT_INUSE"}, 1, nobody)
        gone = operators.looked({"1001": "NOT_INUSE", "1002": "UNAVAILABLE"}, 2, nobody)
        self.assertEqual(
            [(c.sip, c.state.value, c.detail) for c in gone],
            [("1000", "offline", "removed from Asterisk"), ("1002", "offline", None)],
        )
        self.assertEqual(operators.gone("1000", 3), [])
        self.assertIsNone(operators.status("1000"))
        self.assertNotIn("1000", operators)
        self.assertEqual((len(operators), operators.names()), (2, frozenset({"1001", "1002"})))

    def test_paused_is_beside_registration_and_use(self) -> None:
        """In use and offline win over paused; each change is a row that says so."""
        operators = Operators()
        operators.looked({"1000": "NOT_INUSE"}, 1, nobody)
        rows = operators.pause("1000", "lunch", 2, "paused by crm")
        for date, state in enumerate(("INUSE", "NOT_INUSE", "UNAVAILABLE", "NOT_INUSE"), 3):
            rows += operators.seen("1000", state, date)
        rows += operators.resume("1000", 7, "resumed by crm")
        self.assertEqual(
            [(row.state.value, row.paused, row.pause_reason) for row in rows],
            [
                ("paused", True, "lunch"),
                ("inuse", True, "lunch"),
                ("paused", True, "lunch"),
                ("offline", True, "lunch"),
                ("paused", True, "lunch"),
                ("online", False, None),
            ],
        )
        self.assertEqual(
            [row.detail for row in (rows[0], rows[-1])], ["paused by crm", "resumed by crm"]
        )
        self.assertEqual(operators.views(nobody)[0].since, 7)

    def test_a_pause_said_twice(self) -> None:
        """The same pause again is no row; another reason is."""
        operators = Operators()
        operators.looked({"1000": "INUSE"}, 1, nobody)
        self.assertEqual(len(operators.pause("1000", "lunch", 2, "", 12)), 1)
        self.assertEqual(operators.pause("1000", "lunch", 3, ""), [])
        (row,) = operators.pause("1000", None, 4, "")
        self.assertEqual((row.paused, row.pause_reason), (True, None))
        (view,) = operators.views(nobody)
        self.assertEqual((view.status, view.since, view.paused), (Status.INUSE, 1, True))

    def test_a_pause_that_was_not_kept(self) -> None:
        """What could not be kept is told again when it is said again."""
        operators = Operators()
        operators.looked({"1000": "NOT_INUSE"}, 1, nobody)
        operators.pause("1000", None, 2, "")
        operators.not_kept("1000")
        self.assertEqual(len(operators.pause("1000", None, 3, "")), 1)

    def test_a_pause_outlives_the_daemon_and_blindness(self) -> None:
        """Whom the last row calls paused is paused after a start, and while nobody could look."""
        operators = Operators()
        last = OperatorChange("1000", Status.PAUSED, "NOT_INUSE", None, 5, None, True, "lunch")
        operators.remember({"1000": last})
        self.assertEqual(operators.looked({"1000": "NOT_INUSE"}, 9, nobody), [])
        (view,) = operators.views(nobody)
        self.assertEqual((view.status, view.since, view.pause_reason), (Status.PAUSED, 5, "lunch"))
        (row,) = operators.blind(10, "no session")
        self.assertEqual((row.state, row.paused), (Status.UNKNOWN, True))
        (row,) = operators.looked({"1000": "NOT_INUSE"}, 11, nobody)
        self.assertIs(row.state, Status.PAUSED)
        (row,) = operators.gone("1000", 12)
        self.assertEqual((row.state, row.paused), (Status.OFFLINE, True))
        (row,) = operators.seen("1000", "NOT_INUSE", 13)
        self.assertIs(row.state, Status.PAUSED)

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(sorted(STATUS)))))
    def test_no_row_repeats_the_one_before(self, events: list[tuple[str, str]]) -> None:
        """Two rows of one operator that follow each other always differ."""
        operators = Operators()
        rows: dict[str, list[tuple[Status, str | None]]] = {"a": [], "b": []}
        for date, (sip, state) in enumerate(events):
            for change in operators.seen(sip, state, date):
                rows[sip].append((change.state, change.device_state))
        for told in rows.values():
            self.assertNotIn(True, [one == two for one, two in pairwise(told)])
