"""``missedCalls``: inbound calls that nobody took, when and by which call each was called back."""

from __future__ import annotations

from typing import Any

from tests.integration.desk import BUSY, FIRST, SECOND, SHORT, DeskTestCase
from tests.integration.test_methods import CALL

PAGED = ["page", "per_page", "total", "pages"]


class MissedCalls(DeskTestCase):
    """On real phones."""

    async def missed(self, **asked: object) -> list[dict[str, Any]]:
        """The list."""
        response = await self.both("missedCalls", per_page=1000, **asked)
        self.assertEqual(list(response), [*PAGED, "data"])
        rows: list[dict[str, Any]] = response["data"]
        self.assertEqual(response["total"], len(rows))
        return rows

    async def test_nobody_took_it(self) -> None:
        """Given up, rung out, busy, offline: each is listed; one that was taken is not."""
        did = self.new_did()
        calls = []
        for operators, state in (
            (("1006",), "OPERATOR_NOANSWER"),
            (("1005",), "OPERATOR_BUSY"),
            (("1090",), "OPERATOR_OFFLINE"),
        ):
            call_id = await self.call_in(*operators, did=did)
            self.assertEqual((await self.finished(call_id))[-1]["state"], state)
            calls.append(call_id)
        calls.append(await self.miss(did=did))
        taken = await self.call_in("1005", FIRST, did=did)
        self.assertEqual((await self.finished(taken))[-1]["state"], "FINISH")
        rows = await self.missed(did=did)
        self.assertEqual([row["call_id"] for row in rows], calls[::-1])
        for row in rows:
            self.assertEqual(" ".join(row), f"{CALL} attempts called_back closed_by claimed_by")
            self.assertEqual(
                (row["direction"], row["did"], row["final"], row["answered"]),
                ("inbound", did, True, None),
            )
            self.assertEqual((row["attempts"], row["called_back"]), (0, None))
            (told,) = await self.ask("callHistory", call_id=row["call_id"])
            self.assertEqual(row["date"], told["date"])

    async def test_called_back(self) -> None:
        """By the first later outbound call in which the client picked up; with when and by whom."""
        phone = self.new_phone(SHORT)
        await self.called(FIRST, phone)
        missed = await self.miss(phone)
        (row,) = await self.missed(phone=phone)
        self.assertEqual((row["call_id"], row["called_back"]), (missed, None))
        back = await self.called(SECOND, phone)
        await self.called(FIRST, phone)
        (row,) = await self.missed(phone=phone)
        (told,) = await self.ask("callHistory", call_id=back)
        reached = {"call_id": back, "date": told["date"], "sip": SECOND}
        self.assertEqual(row["called_back"], reached)
        self.assertEqual(row["closed_by"], {**reached, "how": "called_back"})
        self.assertEqual(row["attempts"], 1)

    async def test_rang_again_and_got_through(self) -> None:
        """Nobody needs to call them back: it is closed, and says by which call; until then an
        operator may have it, also after the daemon was killed."""
        phone = self.new_phone(SHORT)
        missed = await self.miss(phone)
        claimed = await self.ask("claimMissed", call_id=missed, sip=FIRST, minutes=5)
        self.assertEqual(claimed["claimed_by"]["sip"], FIRST)
        await self.refused(409, "wrong_state", "claimMissed", call_id=missed, sip=SECOND)
        self.daemon.kill()
        self.daemon.start()
        (row,) = await self.missed(phone=phone, open=1)
        self.assertEqual(row, claimed)
        again = await self.call_in("1005", FIRST, phone=phone)
        self.assertEqual((await self.finished(again))[-1]["state"], "FINISH")
        self.assertEqual(await self.missed(phone=phone, open=1), [])
        (row,) = await self.missed(phone=phone)
        self.assertEqual(
            (row["closed_by"]["call_id"], row["closed_by"]["how"]), (again, "called_again")
        )
        self.assertEqual((row["called_back"], row["claimed_by"]), (None, None))

    async def test_tried_in_vain(self) -> None:
        """A call that did not reach the client is an attempt, and the missed call stays open."""
        phone = self.new_phone(BUSY)
        missed = await self.miss(phone)
        for _ in range(2):
            await self.called(FIRST, phone)
        (row,) = await self.missed(phone=phone, open=1)
        self.assertEqual((row["call_id"], row["attempts"], row["called_back"]), (missed, 2, None))

    async def test_open(self) -> None:
        """open=1: only those not called back; a call that is missed after that is open again."""
        phone, did = self.new_phone(SHORT), self.new_did()
        first = await self.miss(phone, did)
        second = await self.miss(phone, did)
        self.assertEqual(len(await self.missed(did=did, open=1)), 2)
        back = await self.called(FIRST, phone)
        self.assertEqual(await self.missed(did=did, open=1), [])
        third = await self.miss(phone, did)
        self.assertEqual([row["call_id"] for row in await self.missed(did=did, open=1)], [third])
        answers = {row["call_id"]: row["called_back"] for row in await self.missed(did=did)}
        self.assertIsNone(answers[third])
        self.assertEqual({answers[first]["call_id"], answers[second]["call_id"]}, {back})

    async def test_filters_and_pages(self) -> None:
        """phone, did, from and to, and pages: what the whole list has of that kind."""
        did = self.new_did()
        phones = [self.new_phone() for _ in range(3)]
        calls = [await self.miss(phone, did) for phone in phones]
        whole = await self.missed(did=did)
        self.assertEqual([row["call_id"] for row in whole], calls[::-1])
        (one,) = await self.missed(phone=f"+{phones[0]}")
        self.assertEqual(one, whole[2])
        bounds = {"from": whole[1]["date"], "to": whole[1]["date"]}
        self.assertEqual(await self.missed(did=did, **bounds), [whole[1]])
        self.assertEqual(await self.missed(did=did, sip="1006"), whole)
        self.assertEqual(await self.missed(did="nobody's"), [])
        for page in (1, 2):
            response = await self.both("missedCalls", did=did, per_page=2, page=page)
            self.assertEqual(response["data"], whole[2 * page - 2 : 2 * page])
            self.assertEqual([response[key] for key in PAGED], [page, 2, 3, 2])
        every = await self.missed()
        self.assertEqual([row for row in every if row["did"] == did], whole)

    async def test_out_of_postgres_alone(self) -> None:
        """With a new journal the list is the same."""
        did, phone = self.new_did(), self.new_phone(SHORT)
        await self.miss(phone, did)
        await self.called(FIRST, phone)
        before = await self.missed(did=did)
        await self.lose_the_journal()
        self.assertEqual(await self.missed(did=did), before)
