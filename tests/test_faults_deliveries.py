"""Tests of what judges webhooks: each thing that can be wrong is found, once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.deliveries import Arrival, Deliveries, Terms
from tests.faults.history import History
from tests.faults.marks import Silence
from tests.integration.receiver import Post

PATH = "/hook"
TERMS = Terms("crm", PATH, first=1.0)
WELL = Terms("well", PATH, first=1.0, within=3.0)
RECORD = "record-7-13"


def state(seq: int, moment: float, name: str = "CALL") -> dict[str, Any]:
    """A state of call 7, as callHistory has it."""
    date = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return {
        "event_id": 9 + seq,
        "call_id": 7,
        "order_id": "15",
        "seq": seq,
        "state": name,
        "date": date,
    }


STATES = [state(1, 10.0), state(2, 20.0, "OPERATOR_CALLTO"), state(3, 30.0, "FINISH")]
RECORDING = {
    "call_id": 7,
    "order_id": "15",
    "uniqueid": "1.1",
    "date": state(0, 31.0)["date"],
    "url": "http://127.0.0.1:8080/api/record/7.wav",
}
TOLD: dict[str, dict[str, Any]] = {
    **{
        f"7-{each['seq']}": {"type": "call.state", "timestamp": each["date"], "data": each}
        for each in STATES
    },
    RECORD: {
        "type": "record.ready",
        "timestamp": RECORDING["date"],
        "data": {**RECORDING, "url": "/api/record/7.wav"},
    },
}


def history() -> History:
    """A call with three states and a recording."""
    told = History()
    told.streamed[7] = STATES
    told.records[7] = [RECORDING]
    return told


def post(
    name: str,
    when: float,
    *,
    taken: bool = True,
    path: str = PATH,
    data: dict[str, Any] | None = None,
    body: bytes | None = None,
    timestamp: float | None = None,
    is_signed: bool = True,
    is_trusted: bool = True,
    pause: float = 0.0,
) -> Arrival:
    """A POST of the message of this name, as it should be but for what is said."""
    told = TOLD.get(name, TOLD["7-1"])
    told = {**told, "data": {**told["data"], **(data or {})}}
    headers = {"webhook-id": name, "webhook-timestamp": str(int(timestamp or when))}
    arrived = Post(path, headers, body or json.dumps(told).encode(), when, ("127.0.0.1", 1))
    return Arrival(arrived, is_signed, is_trusted, when if taken else None, pause)


FIRST, SECOND, THIRD, READY = (
    post("7-1", 10.1),
    post("7-2", 20.1),
    post("7-3", 30.1),
    post(RECORD, 31.1),
)


class DeliveriesTests(SynchronousTestCase):
    """One receiver, and one call with its recording."""

    def wrong(
        self, *arrivals: Arrival, terms: Terms = TERMS, silences: tuple[Silence, ...] = ()
    ) -> list[str]:
        """What is found, in order of arrival."""
        ordered = sorted(arrivals, key=lambda one: one.post.when)
        found = Deliveries(history(), ordered, terms, silences).wrong()
        self.assertTrue(all(one.name == f"webhook {terms.name}" for one in found))
        return [one.what for one in found]

    def test_as_it_should_be(self) -> None:
        """Everything once and in order; or with failures in between, each tried again later."""
        self.assertEqual(self.wrong(FIRST, SECOND, THIRD, READY, terms=WELL), [])
        fails = [post("7-2", moment, taken=False) for moment in (20.1, 20.7, 22.0)]
        again = [post("7-2", 26.0)]
        self.assertEqual(self.wrong(FIRST, *fails, *again, THIRD, READY), [])

    def test_not_delivered(self) -> None:
        """A state that never came, one that was never taken, a recording."""
        never_taken = post("7-3", 30.1, taken=False)
        self.assertEqual(
            self.wrong(FIRST, never_taken),
            [
                "not delivered: 7-2, 7-3, the recording 1.1",
                "7-3 came before 7-2 was taken",
            ],
        )
        self.assertEqual(self.wrong(FIRST, SECOND, THIRD), ["not delivered: the recording 1.1"])

    def test_a_redirect_that_is_followed(self) -> None:
        """Nothing may go where it leads, as whatever it is."""
        for name in ("7-1", ""):
            [said] = self.wrong(FIRST, SECOND, THIRD, READY, post(name, 10.2, path="/elsewhere"))
            self.assertIn("went to /elsewhere", said)

    def test_a_certificate_that_is_not_good(self) -> None:
        """Nothing may be told to who has none."""
        told = post("7-1", 10.1, is_trusted=False)
        self.assertEqual(
            self.wrong(told, SECOND, THIRD, READY),
            ["7-1 was told to who had no good certificate"],
        )

    def test_a_wrong_signature(self) -> None:
        """Every attempt has a right one."""
        told = post("7-1", 10.1, is_signed=False)
        self.assertEqual(self.wrong(told, SECOND, THIRD, READY), ["7-1 has no right signature"])

    def test_a_moment_of_long_ago(self) -> None:
        """The timestamp is that of the attempt, not of the first one."""
        told = post("7-1", 20.1, timestamp=10.0)
        [said] = self.wrong(told, SECOND, THIRD, READY)
        self.assertEqual(said, "7-1 of 10 arrived at 20.1")

    def test_of_no_chain(self) -> None:
        """A call, a state and a recording that nobody knows, and what has no name."""
        for name in ("8-1", "7-4", "record-8-14", "", "nonsense"):
            self.assertEqual(
                self.wrong(FIRST, SECOND, THIRD, READY, post(name, 40.0)),
                [f"{name!r} is in no chain"],
            )

    def test_another_body(self) -> None:
        """What is told is what the history has; and it is told at all."""
        for body in (post("7-1", 10.1, data={"state": "FINISH"}), post("7-1", 10.1, body=b"{")):
            [said] = self.wrong(body, SECOND, THIRD, READY)
            self.assertIn("7-1 says", said)

    def test_another_order(self) -> None:
        """It may be told before its order was attached, but under no other one."""
        self.assertEqual(
            self.wrong(post("7-1", 10.1, data={"order_id": None}), SECOND, THIRD, READY), []
        )
        self.assertEqual(
            self.wrong(post("7-1", 10.1, data={"order_id": "16"}), SECOND, THIRD, READY),
            ["7-1 is under the order 16"],
        )

    def test_not_the_same_again(self) -> None:
        """A retry is the same, letter by letter, but for an order that was attached meanwhile."""
        before = post("7-1", 10.1, taken=False, data={"order_id": None})
        after = post("7-1", 12.0)
        self.assertEqual(self.wrong(before, after, SECOND, THIRD, READY), [])
        turned = json.dumps(dict(reversed(TOLD["7-1"].items()))).encode()
        after = post("7-1", 12.0, body=turned)
        self.assertEqual(
            self.wrong(before, after, SECOND, THIRD, READY),
            ["7-1 is not the same when it is sent again"],
        )

    def test_again_too_soon(self) -> None:
        """A half of the first pause is waited, unless the receiver is back or the daemon was."""
        before, after = post("7-1", 10.1, taken=False), post("7-1", 10.3)
        rest = (after, SECOND, THIRD, READY)
        self.assertEqual(self.wrong(before, *rest), ["7-1 was sent again after 0.20 s"])
        self.assertEqual(self.wrong(before, *rest, silences=(Silence(10.15, 10.2),)), [])
        other = post("", 10.2)
        self.assertEqual(self.wrong(before, other, *rest), ["'' is in no chain"])

    def test_a_pause_that_was_asked_for(self) -> None:
        """It is kept, whatever the receiver takes meanwhile."""
        before, after = post("7-1", 10.1, taken=False, pause=5.0), post("7-1", 13.0)
        other = post("", 10.2)
        self.assertEqual(
            self.wrong(before, other, after, SECOND, THIRD, READY),
            ["'' is in no chain", "7-1 was sent again after 2.90 s"],
        )
        after = post("7-1", 15.1)
        self.assertEqual(self.wrong(before, after, SECOND, THIRD, READY), [])

    def test_overtaking(self) -> None:
        """The next comes when the one before it was taken, and not while it is being tried."""
        self.assertEqual(
            self.wrong(FIRST, post("7-2", 20.1, taken=False), post("7-2", 30.2), THIRD, READY)[0],
            "7-3 came before 7-2 was taken",
        )
        self.assertEqual(
            self.wrong(FIRST, SECOND, post(RECORD, 30.0), THIRD),
            [f"{RECORD} came before 7-3 was taken", f"7-3 came again after {RECORD}"],
        )

    def test_one_that_was_over(self) -> None:
        """What has been taken does not come again once the next has come; at once it may."""
        twice = post("7-1", 11.0)
        self.assertEqual(self.wrong(FIRST, twice, SECOND, THIRD, READY), [])
        twice = post("7-1", 21.0)
        self.assertEqual(
            self.wrong(FIRST, SECOND, twice, THIRD, READY), ["7-1 came again after 7-2"]
        )

    def test_held_up(self) -> None:
        """Who is well hears in time; from when the daemon was back, if it was away."""
        late = post("7-2", 24.5)
        rest = (FIRST, late, THIRD, READY)
        self.assertEqual(self.wrong(*rest, terms=WELL), ["7-2 arrived 4.5 s after its moment"])
        self.assertEqual(self.wrong(*rest), [])
        self.assertEqual(self.wrong(*rest, terms=WELL, silences=(Silence(19.0, 22.0),)), [])
        self.assertEqual(self.wrong(*rest, terms=WELL, silences=(Silence(20.5, 22.0),)), [])
        deliveries = Deliveries(history(), rest, WELL)
        self.assertAlmostEqual(deliveries.slowest(), 4.5)
