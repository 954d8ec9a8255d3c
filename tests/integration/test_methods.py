"""Live tests of the rows of the wire contract's table of methods, on calls really made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.integration.asking import as_xml, spelled
from tests.integration.story import CHAINS, PLOT, STATES, StoryTestCase

#: The keys of each object, in their order.
STATE = "event_id call_id order_id external_key seq state final leg sip date cause detail note"
CALL = (
    "call_id order_id external_key direction sip phone state final date answered ended"
    " ring_seconds talk_seconds hung_up_by cause detail did caller_name note phone_sent"
)
RECORD = (
    "call_id order_id external_key sip phone direction uniqueid path url format size duration"
    " add_date date note pauses"
)
OPERATOR = "sip status device_state since call_id stale paused pause_reason"
CHANGE = "event_id sip state device_state call_id date detail paused pause_reason"
PAGED = ["page", "per_page", "total", "pages"]
OF_ORDER_ONE = ["talk", "client_busy", "operator_busy", "second_talk", "operator_offline"]
MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


def seconds(moment: str) -> float:
    """Seconds since 1970 of a moment as it stands on the wire."""
    return datetime.fromisoformat(moment).timestamp()


class Rows(StoryTestCase):
    """Each method's row: what its response is, and the objects in it, in JSON and in XML."""

    async def both(self, method: str, **parameters: object) -> dict[str, Any]:
        """The envelope in JSON, after XML has been found to say the same, one to one."""
        envelope = await self.api(method, **parameters)
        root = await self.api_xml(method, **parameters)
        self.assertEqual(spelled(root), spelled(as_xml("result", envelope)))
        self.assertEqual((envelope["status"], envelope["status_code"]), ("ok", 200))
        return envelope

    def chains_of(self, calls: list[dict[str, Any]]) -> list[list[str]]:
        """The names of the states of calls that carry them."""
        return [[state["state"] for state in call["states"]] for call in calls]

    async def test_call_history_of_one_call(self) -> None:
        """By call_id and by external_key: a list of one call with the states of its chain."""
        story = await self.story()
        for name, call_id in story.calls.items():
            by_id = await self.both("callHistory", call_id=call_id)
            by_key = await self.both("callHistory", external_key=story.keys[name])
            self.assertEqual(by_id, by_key)
            self.assertEqual(list(by_id), ["status", "status_code", "response"])
            (call,) = by_id["response"]
            self.assertEqual(" ".join(call), f"{CALL} states")
            self.assertEqual(self.chains_of([call]), [CHAINS[name]])
            self.check_states(call, name)

    def check_states(self, call: dict[str, Any], name: str) -> None:
        """Keys, numbers, marks and dates of a call's states, and the call's own of them."""
        states = call["states"]
        last = states[-1]
        self.assertEqual([state["seq"] for state in states], list(range(1, len(states) + 1)))
        self.assertEqual([state["final"] for state in states], [False] * (len(states) - 1) + [True])
        self.assertEqual([each["date"] for each in states], sorted(e["date"] for e in states))
        for state in states:
            self.assertEqual(" ".join(state), STATE)
            self.assertRegex(state["date"], MOMENT)
            for field in ("call_id", "order_id", "external_key", "sip"):
                self.assertEqual(state[field], call[field], field)
        for field in ("state", "final", "cause", "detail"):
            self.assertEqual(last[field], call[field], field)
        self.assertEqual((call["date"], call["ended"]), (states[0]["date"], last["date"]))
        legs = [state["leg"] for state in states if state["state"] not in ("CALL", "FINISH")]
        of_names = [state["state"].partition("_")[0].lower() for state in states]
        told = ["" if leg is None else leg.partition("-")[0] for leg in legs]
        self.assertEqual(told, [name for name in of_names if name not in ("call", "finish")])

    async def test_a_call_that_was_talked(self) -> None:
        """The call's seconds are those of its states, and the client has hung up."""
        story = await self.story()
        (call,) = await self.ask("callHistory", call_id=story.calls["talk"])
        dates = {state["state"]: seconds(state["date"]) for state in call["states"]}
        sip, phone, _ = PLOT["talk"]
        self.assertEqual((call["sip"], call["phone"], call["direction"]), (sip, phone, "outbound"))
        ring = dates["OPERATOR_PICKUP"] - dates["OPERATOR_CALLTO"]
        talk = dates["FINISH"] - dates["CLIENT_PICKUP"]
        self.assertAlmostEqual(call["ring_seconds"], ring, places=3)
        # A talk is over with the first phone that is gone, the call with the last.
        told = call["talk_seconds"]
        self.assertTrue(talk - 0.5 < told < talk + 0.0005, (told, talk))
        self.assertTrue(0.8 < talk < 2.5, talk)
        self.assertEqual(seconds(call["answered"]), dates["CLIENT_PICKUP"])
        self.assertEqual((call["hung_up_by"], call["cause"]), ("client", 16))

    async def test_a_call_that_was_not(self) -> None:
        """Without a talk there is no answered and no talk_seconds; the cause says why."""
        story = await self.story()
        for name, cause in {
            "client_busy": 17,
            "operator_busy": 17,
            "operator_offline": None,
        }.items():
            (call,) = await self.ask("callHistory", call_id=story.calls[name])
            self.assertEqual((call["answered"], call["talk_seconds"]), (None, None), name)
            self.assertEqual((call["state"], call["cause"]), (CHAINS[name][-1], cause), name)

    async def test_call_history_flat(self) -> None:
        """Without a call: the states of all calls, newest first, paging beside the response."""
        story = await self.story()
        envelope = await self.both("callHistory", per_page=100)
        self.assertEqual(list(envelope), ["status", "status_code", "response", *PAGED])
        self.assertEqual([envelope[key] for key in PAGED], [1, 100, STATES, 1])
        rows = envelope["response"]
        order = [(row["date"], row["event_id"]) for row in rows]
        self.assertEqual(order, sorted(order, reverse=True))
        chains = [await self.states(call_id) for call_id in story.calls.values()]
        newest = sorted((row["event_id"] for chain in chains for row in chain), reverse=True)
        self.assertEqual(sorted((row["event_id"] for row in rows), reverse=True), newest)

    async def test_call_history_after(self) -> None:
        """With after=0: all states from the beginning on, and the next cursor in next."""
        await self.story()
        envelope = await self.both("callHistory", after=0, limit=1000)
        self.assertEqual(list(envelope), ["status", "status_code", "response", "next"])
        ids = [row["event_id"] for row in envelope["response"]]
        self.assertEqual((len(ids), ids), (STATES, sorted(set(ids))))
        nothing = await self.both("callHistory", after=envelope["next"])
        self.assertEqual((nothing["response"], nothing["next"]), ([], envelope["next"]))

    async def test_order_history(self) -> None:
        """The order's states in one list, oldest first; the other order's are not among them."""
        story = await self.story()
        rows = (await self.both("orderHistory", order_id=story.orders["one"]))["response"]
        order = [(row["date"], row["event_id"]) for row in rows]
        self.assertEqual(order, sorted(order))
        self.assertEqual({row["order_id"] for row in rows}, {story.orders["one"]})
        for name in OF_ORDER_ONE:
            chain = [row["state"] for row in rows if row["call_id"] == story.calls[name]]
            self.assertEqual(chain, CHAINS[name])
        self.assertEqual(len(rows), sum(len(CHAINS[name]) for name in OF_ORDER_ONE))
        zero = await self.ask("orderHistory", order_id=story.orders["one"], group_by_call=0)
        self.assertEqual(zero, rows)

    async def test_order_history_by_call(self) -> None:
        """With group_by_call=1: a list of calls, oldest first, as callHistory has each."""
        story = await self.story()
        asked = {"order_id": story.orders["one"], "group_by_call": 1}
        calls = (await self.both("orderHistory", **asked))["response"]
        self.assertEqual(
            [call["call_id"] for call in calls], [story.calls[n] for n in OF_ORDER_ONE]
        )
        self.assertEqual(self.chains_of(calls), [CHAINS[name] for name in OF_ORDER_ONE])
        for call in calls:
            self.assertEqual(await self.ask("callHistory", call_id=call["call_id"]), [call])

    async def test_record_list(self) -> None:
        """The paging and the records in data, newest first, each as long as its file says."""
        story = await self.story()
        response = (await self.both("recordList"))["response"]
        self.assertEqual(list(response), [*PAGED, "data"])
        self.assertEqual([response[key] for key in PAGED], [1, 50, 3, 1])
        talks = {story.calls[name]: name for name in ("talk", "second_talk", "other_talk")}
        records = response["data"]
        self.assertEqual({record["call_id"] for record in records}, set(talks))
        dates = [record["date"] for record in records]
        self.assertEqual(dates, sorted(dates, reverse=True))
        for record in records:
            self.assertEqual(" ".join(record), RECORD)
            name = talks[record["call_id"]]
            self.assertEqual((record["sip"], record["phone"]), PLOT[name][:2])
            self.assertEqual(record["order_id"], story.orders[PLOT[name][2]])
            self.assertEqual(record["add_date"], int(seconds(record["date"])))
            self.assertEqual((record["format"], record["direction"]), ("wav", "outbound"))
            self.assertTrue(0.5 < record["duration"] < 2.5, record["duration"])
            await self.check_file(record)

    async def check_file(self, record: dict[str, Any]) -> None:
        """The file at ``path`` has ``size`` bytes, and ``url`` sends them."""
        file = self.lab.asterisk.recordings_on_host / record["path"]
        self.assertEqual(file.stat().st_size, record["size"])
        self.assertTrue(record["url"].startswith(f"{self.daemon.url}/api/record/"), record["url"])
        status, headers, body = await self.request(record["url"].removeprefix(self.daemon.url))
        self.assertEqual((status, headers["content-type"]), (200, "audio/wav"))
        self.assertEqual(body, file.read_bytes())

    async def test_order_records(self) -> None:
        """All the order's calls, newest first; uniqueid and path from the recording, or null."""
        story = await self.story()
        calls = (await self.both("orderRecords", order_id=story.orders["one"]))["response"]
        newest_first = [story.calls[name] for name in reversed(OF_ORDER_ONE)]
        self.assertEqual([call["call_id"] for call in calls], newest_first)
        records = (await self.ask("recordList"))["data"]
        for call in calls:
            self.assertEqual(" ".join(call), f"{CALL} uniqueid path records")
            own = [record for record in records if record["call_id"] == call["call_id"]]
            self.assertEqual(call["records"], own)
            is_talk = call["state"] == "FINISH"
            self.assertEqual(len(own), int(is_talk))
            first = own[0] if own else {"uniqueid": None, "path": None}
            for field in ("uniqueid", "path"):
                self.assertEqual(call[field], first[field])

    async def test_sip_list(self) -> None:
        """The paging and every operator of Asterisk in data, sorted by sip."""
        await self.story()
        response = (await self.both("sipList", per_page=1000))["response"]
        self.assertEqual(list(response), [*PAGED, "data"])
        everybody = sorted(self.lab.asterisk.operators)
        self.assertEqual([operator["sip"] for operator in response["data"]], everybody)
        self.assertEqual([response[key] for key in PAGED], [1, 1000, len(everybody), 1])
        for operator in response["data"]:
            self.assertEqual(" ".join(operator), OPERATOR)
            self.assertRegex(operator["since"], MOMENT)

    async def test_operator_history(self) -> None:
        """The operator's changes, newest first, paging beside the response."""
        story = await self.story()
        envelope = await self.both("operatorHistory", sip="1040")
        self.assertEqual(list(envelope), ["status", "status_code", "response", *PAGED])
        rows = envelope["response"]
        self.assertEqual({" ".join(row) for row in rows}, {CHANGE})
        told = [(row["state"], row["device_state"]) for row in rows]
        inuse = [("inuse", "INUSE"), ("inuse", "RINGING")]
        self.assertEqual(told, [("online", "NOT_INUSE"), *inuse, ("online", "NOT_INUSE")])
        self.assertEqual({row["call_id"] for row in rows[1:3]}, {story.calls["talk"]})
        ids = [row["event_id"] for row in rows]
        self.assertEqual(ids, sorted(set(ids), reverse=True))
