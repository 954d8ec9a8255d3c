"""Live tests of pages at their edges and of every filter, on calls really made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.integration.story import OFFLINE, PLOT, STATES, StoryTestCase

Row = dict[str, Any]
PAGED = ("page", "per_page", "total", "pages")
#: Narrowed so that the pages are few enough to read all of them.
SMALL: dict[str, dict[str, object]] = {
    "sipList": {"status": "offline"},
    "operatorHistory": {"sip": "1040"},
}
PAGED_METHODS = ("callHistory", "recordList", "sipList", "operatorHistory")


def shifted(moment: str, milliseconds: int) -> str:
    """A moment of the wire, moved."""
    moved = datetime.fromisoformat(moment) + timedelta(milliseconds=milliseconds)
    return moved.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def told_between(start: str, end: str) -> Callable[[Row], bool]:
    """Rows with a date from ``start`` to ``end``, both included."""
    return lambda row: bool(start <= row["date"] <= end)


def has_status(*statuses: str) -> Callable[[Row], bool]:
    """Operators with one of these statuses."""
    return lambda row: row["status"] in statuses


class ListCase(StoryTestCase):
    """Reads lists alike, wherever their rows and paging stand."""

    async def page(self, method: str, **asked: object) -> tuple[list[Row], list[int]]:
        """A page's rows; its page, per_page, total and pages."""
        envelope = await self.api(method, **asked)
        self.assertEqual(envelope["status"], "ok", envelope)
        response = envelope["response"]
        rows, beside = (
            (response, envelope) if isinstance(response, list) else (response["data"], response)
        )
        return rows, [beside[name] for name in PAGED]

    async def whole(self, method: str, **asked: object) -> list[Row]:
        """All rows of a list."""
        rows, (_, _, total, pages) = await self.page(method, per_page=1000, **asked)
        self.assertEqual((len(rows), pages), (total, int(total > 0)))
        return rows

    async def refused(self, method: str, code: str, field: str, **asked: object) -> None:
        """The answer is 400 with this code and field."""
        envelope = await self.api(method, **asked)
        self.assertEqual(envelope["status_code"], 400, (method, asked, envelope))
        error = envelope["error"]
        self.assertEqual((error["code"], error["field"]), (code, field), (method, asked))


class Pages(ListCase):
    """The four lists that have pages."""

    async def test_every_page_size(self) -> None:
        """Put one after the other, the pages of any size are the whole list."""
        await self.story()
        for method in PAGED_METHODS:
            whole = await self.whole(method, **SMALL.get(method, {}))
            total = len(whole)
            for per_page in {1, 2, total - 1, total, total + 1} - {0}:
                count = -(-total // per_page)
                rows = []
                for number in range(1, count + 1):
                    asked = {"page": number, "per_page": per_page, **SMALL.get(method, {})}
                    some, paging = await self.page(method, **asked)
                    self.assertEqual(paging, [number, per_page, total, count], method)
                    start = (number - 1) * per_page
                    self.assertEqual(some, whole[start : start + per_page], method)
                    rows += some
                self.assertEqual(rows, whole, method)

    async def test_past_the_end(self) -> None:
        """A page past the end is an empty list that says how many there are."""
        await self.story()
        for method in PAGED_METHODS:
            total = len(await self.whole(method))
            for page, per_page in ((2, 1000), (total + 1, 1), (100, 1000), (2000, 50)):
                rows, paging = await self.page(method, page=page, per_page=per_page)
                self.assertEqual(rows, [], method)
                self.assertEqual(paging, [page, per_page, total, -(-total // per_page)], method)

    async def test_default(self) -> None:
        """Without paging it is the first 50 rows."""
        await self.story()
        for method in PAGED_METHODS:
            rows, paging = await self.page(method)
            whole = await self.whole(method)
            self.assertEqual(rows, whole[:50])
            self.assertEqual(paging, [1, 50, len(whole), -(-len(whole) // 50)])

    async def test_nothing_to_list(self) -> None:
        """A list without rows has no pages."""
        await self.story()
        for method, asked in {
            "callHistory": {"order_id": "nobody's"},
            "recordList": {"order_id": "nobody's"},
            "sipList": {"sip": "999999"},
            "operatorHistory": {"sip": "999999"},
        }.items():
            self.assertEqual(await self.page(method, **asked), ([], [1, 50, 0, 0]), method)

    async def test_out_of_range(self) -> None:
        """What is no page is refused by name, never bent; deeper than 100,000 rows is too_deep."""
        await self.story()
        for method in PAGED_METHODS:
            for page in ("0", "-1", "1.5", "x", "１"):
                await self.refused(method, "bad_parameter", "page", page=page)
            for per_page in ("0", "1001", "-5", "all"):
                await self.refused(method, "bad_parameter", "per_page", per_page=per_page)
            await self.refused(method, "too_deep", "page", page=2001)
            await self.refused(method, "too_deep", "page", page=101, per_page=1000)
        for name, value in (("limit", 0), ("limit", 1001), ("wait", 61), ("after", "?")):
            await self.refused("callHistory", "bad_parameter", name, **{"after": 0, name: value})


class Filters(ListCase):
    """from, to, sip, phone, order_id and direction, where the rows have them."""

    async def check(self, method: str, wanted: Callable[[Row], bool], **asked: object) -> int:
        """A filtered list is what the whole list has of that kind, in its order."""
        whole = await self.whole(method)
        found = await self.whole(method, **asked)
        self.assertEqual(found, [row for row in whole if wanted(row)], (method, asked))
        return len(found)

    async def test_by_operator(self) -> None:
        """By sip: their rows, and no others."""
        await self.story()
        for method, expected in {"callHistory": 6, "recordList": 1, "operatorHistory": 4}.items():
            found = await self.check(method, lambda row: row["sip"] == "1040", sip="1040")
            self.assertEqual(found, expected, method)
        self.assertEqual(
            await self.check("sipList", lambda row: row["sip"] == "1040", sip="1040"), 1
        )

    async def test_by_phone(self) -> None:
        """By phone, with or without a plus: the rows of calls with that client."""
        story = await self.story()
        phone = PLOT["second_talk"][1]
        ours = story.calls["second_talk"]
        for method, expected in {"callHistory": 6, "recordList": 1}.items():
            for spelled in (phone, f"+{phone}"):
                found = await self.check(method, lambda row: row["call_id"] == ours, phone=spelled)
                self.assertEqual(found, expected, method)

    async def test_by_order(self) -> None:
        """By order: the rows of its calls."""
        story = await self.story()
        order = story.orders["two"]
        for method, expected in {"callHistory": 6, "recordList": 1}.items():
            found = await self.check(method, lambda row: row["order_id"] == order, order_id=order)
            self.assertEqual(found, expected, method)

    async def test_by_direction(self) -> None:
        """By direction: every call was outbound, none inbound; any other word is refused."""
        await self.story()
        for method, total in {"callHistory": STATES, "recordList": 3}.items():
            outbound = await self.check(method, lambda row: True, direction="outbound")
            self.assertEqual(outbound, total)
            self.assertEqual(await self.check(method, lambda row: False, direction="inbound"), 0)
            await self.refused(method, "bad_parameter", "direction", direction="sideways")

    async def test_by_time(self) -> None:
        """From and to: both moments belong to what is wanted, to the millisecond."""
        await self.story()
        for method in ("callHistory", "recordList", "operatorHistory"):
            dates = [row["date"] for row in await self.whole(method)]
            early, late = dates[len(dates) * 2 // 3], dates[len(dates) // 3]
            for start, end in (
                (early, late),
                (early, early),
                (shifted(early, 1), late),
                (early, shifted(late, -1)),
                (shifted(dates[0], 1), "2100-01-01"),
                ("2000-01-01T00:00:00Z", shifted(dates[-1], -1)),
            ):
                found = await self.check(
                    method,
                    told_between(start, end),
                    **{"from": start, "to": end},
                )
                self.assertEqual(found, sum(start <= date <= end for date in dates))
            await self.refused(method, "bad_parameter", "from", **{"from": "yesterday"})

    async def test_together(self) -> None:
        """Several filters narrow together, and the pages are those of what is left."""
        story = await self.story()
        asked = {"order_id": story.orders["one"], "sip": "1040", "direction": "outbound"}
        whole = await self.whole("callHistory", **asked)
        self.assertEqual({row["call_id"] for row in whole}, {story.calls["talk"]})
        rows, paging = await self.page("callHistory", page=2, per_page=4, **asked)
        self.assertEqual((rows, paging), (whole[4:], [2, 4, 6, 2]))
        nothing = {**asked, "phone": PLOT["other_talk"][1]}
        self.assertEqual(await self.whole("callHistory", **nothing), [])

    async def test_after_with_filters(self) -> None:
        """The filters hold for what was told after a cursor as well."""
        story = await self.story()
        for asked, names in (
            ({"sip": "1041"}, ["client_busy"]),
            ({"phone": PLOT["talk"][1]}, ["talk"]),
            ({"order_id": story.orders["two"]}, ["other_talk"]),
            ({"direction": "inbound"}, []),
        ):
            rows = await self.ask("callHistory", after=0, **asked)
            chains = [await self.states(story.calls[name]) for name in names]
            self.assertEqual(rows, [row for chain in chains for row in chain], asked)

    async def test_an_order_narrowed(self) -> None:
        """orderHistory and orderRecords take sip, phone, direction, from and to of the calls."""
        story = await self.story()
        order = {"order_id": story.orders["one"]}
        whole = await self.ask("orderHistory", **order, group_by_call=1)
        states = await self.ask("orderHistory", **order)
        dates = {call["call_id"]: call["date"] for call in whole}
        first, last = whole[0], whole[-1]
        for asked, wanted in (
            ({"sip": OFFLINE[0]}, {story.calls["operator_offline"]}),
            ({"phone": PLOT["client_busy"][1]}, {story.calls["client_busy"]}),
            ({"direction": "outbound"}, set(dates)),
            ({"direction": "inbound"}, set()),
            (
                {"to": first["date"]},
                {call for call, date in dates.items() if date <= first["date"]},
            ),
            (
                {"from": last["date"]},
                {call for call, date in dates.items() if date >= last["date"]},
            ),
        ):
            calls = await self.ask("orderHistory", **order, **asked, group_by_call=1)
            self.assertEqual(calls, [call for call in whole if call["call_id"] in wanted], asked)
            records = await self.ask("orderRecords", **order, **asked)
            self.assertEqual({call["call_id"] for call in records}, wanted)
            flat = await self.ask("orderHistory", **order, **asked)
            # Flat it lists states, so from and to are of the states' dates there.
            moments = (asked.get("from", ""), asked.get("to", "9"))
            of = set(dates) if asked.keys() & {"from", "to"} else wanted
            told = [row for row in states if moments[0] <= row["date"] <= moments[1]]
            self.assertEqual(flat, [row for row in told if row["call_id"] in of], asked)

    async def test_by_status(self) -> None:
        """sipList by a comma list of statuses: those operators and no others."""
        await self.story()
        whole = await self.whole("sipList")
        self.assertEqual({row["status"] for row in whole}, {"offline", "online"})
        for asked in ("offline", "online", "inuse", "offline,online", "inuse,offline"):
            await self.check("sipList", has_status(*asked.split(",")), status=asked)
        await self.refused("sipList", "bad_parameter", "status", status="asleep")
