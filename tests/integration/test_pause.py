"""``pauseOperator`` and ``resumeOperator``: a state beside registration and use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.integration.desk import FIRST, LONG, SECOND, SHORT, THIRD, DeskTestCase
from tests.integration.harness import on_16
from tests.integration.test_methods import CHANGE, OPERATOR

Row = tuple[str, bool, str | None, str | None]


class PauseCase(DeskTestCase):
    """Reads what is said of operators."""

    async def operator(self, sip: str) -> dict[str, Any]:
        """An operator as they stand now."""
        (found,) = (await self.both("sipList", sip=sip))["data"]
        self.assertEqual(" ".join(found), OPERATOR)
        shown: dict[str, Any] = found
        return shown

    async def history(self, sip: str) -> list[Row]:
        """Their log, newest first: state, pause, reason, detail."""
        rows = await self.both("operatorHistory", sip=sip, per_page=1000)
        self.assertEqual({" ".join(row) for row in rows}, {CHANGE})
        return [(row["state"], row["paused"], row["pause_reason"], row["detail"]) for row in rows]

    async def is_(self, sip: str, status: str) -> None:
        """Wait until an operator has a status."""

        async def so() -> bool:
            (found,) = (await self.ask("sipList", sip=sip))["data"]
            return bool(found["status"] == status)

        await self.wait_for(so, 15, f"{sip} is {status}")


class Pauses(PauseCase):
    """Asked for."""

    tables: ClassVar[Mapping[str, Any]] = {
        **DeskTestCase.tables,
        "routing": {"operators": [FIRST, SECOND], "ring_timeout": 3},
    }

    async def took(self) -> str:
        """A client calls in; who talks with them."""
        phone = self.new_phone()
        self.lab.clients.call(self.new_did(), phone, talk=0.5)

        async def over() -> Any:
            rows = await self.ask("callHistory", phone=phone)
            return rows if rows and rows[0]["final"] else None

        states = await self.wait_for(over, 20, "the call is over")
        self.assertEqual([state["state"] for state in states][:1], ["FINISH"])
        self.assertNotIn("OPERATOR_OFFLINE", [state["state"] for state in states])
        await self.idle()
        return str(states[0]["sip"])

    async def test_paused_and_resumed(self) -> None:
        """The answer, sipList with its status, and a row of operatorHistory each."""
        shown = await self.both("pauseOperator", sip=THIRD, reason="обід")
        self.assertEqual(" ".join(shown), OPERATOR)
        self.assertEqual(
            (shown["sip"], shown["status"], shown["paused"], shown["pause_reason"]),
            (THIRD, "paused", True, "обід"),
        )
        self.assertEqual(await self.operator(THIRD), shown)
        paused = (await self.both("sipList", status="paused"))["data"]
        self.assertEqual(paused, [shown])
        self.assertEqual((await self.history(THIRD))[0], ("paused", True, "обід", "paused by crm"))
        resumed = await self.both("resumeOperator", sip=THIRD)
        self.assertEqual(
            (resumed["status"], resumed["paused"], resumed["pause_reason"]),
            ("online", False, None),
        )
        self.assertEqual((await self.history(THIRD))[0], ("online", False, None, "resumed by crm"))
        self.assertEqual((await self.both("sipList", status="paused"))["total"], 0)

    async def test_inbound_skips_him(self) -> None:
        """Clients' calls go to the next one until they are resumed."""
        await self.ask("pauseOperator", sip=FIRST)
        self.assertEqual(await self.took(), SECOND)
        await self.ask("resumeOperator", sip=FIRST)
        self.assertEqual(await self.took(), FIRST)

    async def test_in_use_wins(self) -> None:
        """makeCall for them is allowed; in a talk they are in use, afterwards paused again."""
        await self.ask("pauseOperator", sip=THIRD, reason="paper")
        call_id = await self.make_call(THIRD, self.new_phone(SHORT))
        await self.is_(THIRD, "inuse")
        shown = await self.operator(THIRD)
        self.assertEqual((shown["paused"], shown["pause_reason"]), (True, "paper"))
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.is_(THIRD, "paused")
        await self.ask("resumeOperator", sip=THIRD)

    async def test_offline_wins(self) -> None:
        """Whose phone is gone is offline, and paused when it is back."""
        await self.ask("pauseOperator", sip=THIRD)
        self.unregister(THIRD)
        await self.is_(THIRD, "offline")
        self.assertTrue((await self.operator(THIRD))["paused"])
        self.lab.register([THIRD])
        await self.is_(THIRD, "paused")
        await self.ask("resumeOperator", sip=THIRD)

    async def test_over_a_restart(self) -> None:
        """A pause lasts, and is not told again; also where the journal is a new one."""
        before = await self.ask("pauseOperator", sip=THIRD, reason="lunch")
        log = await self.history(THIRD)
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual(await self.operator(THIRD), before)
        await self.lose_the_journal()
        self.assertEqual(await self.operator(THIRD), before)
        self.assertEqual(await self.history(THIRD), log)
        await self.ask("resumeOperator", sip=THIRD)

    async def test_what_is_refused(self) -> None:
        """Nobody's number, no number, a reason that is none or the daemon's own."""
        for method in ("pauseOperator", "resumeOperator"):
            error = await self.refused(404, "operator_unknown", method, sip="9999")
            self.assertEqual(error["field"], "sip")
            await self.refused(400, "missing_parameter", method)
        for reason in ("x" * 65, "a\nb", "wrap-up"):
            error = await self.refused(
                400, "bad_parameter", "pauseOperator", sip=THIRD, reason=reason
            )
            self.assertEqual(error["field"], "reason")


class WrapUp(PauseCase):
    """By itself after a talk."""

    tables: ClassVar[Mapping[str, Any]] = {**DeskTestCase.tables, "operators": {"wrap_up": 3}}

    async def test_after_a_talk(self) -> None:
        """Paused for so many seconds, in use and back are rows too; then online by itself."""
        call_id = await self.make_call(FIRST, self.new_phone(SHORT))
        await self.finished(call_id)
        await self.is_(FIRST, "paused")
        self.assertEqual((await self.operator(FIRST))["pause_reason"], "wrap-up")
        await self.is_(FIRST, "online")
        over, began, *_ = await self.history(FIRST)
        self.assertEqual(over, ("online", False, None, "wrap-up is over"))
        self.assertEqual(began, ("paused", True, "wrap-up", f"3 s after call {call_id}"))

    async def test_after_a_talk_with_a_client_who_called(self) -> None:
        """The same inbound; who was only rung is not paused."""
        call_id = await self.call_in("1006", SECOND, talk=0.7)
        await self.finished(call_id)
        await self.is_(SECOND, "paused")
        self.assertFalse((await self.operator("1006"))["paused"])
        await self.ask("resumeOperator", sip=SECOND)
        self.assertEqual((await self.operator(SECOND))["status"], "online")

    async def test_without_a_talk(self) -> None:
        """A client who was busy leaves no pause behind."""
        await self.called(THIRD, self.new_phone("05"))
        await self.is_(THIRD, "online")
        await self.sleep(0.5)
        self.assertFalse((await self.operator(THIRD))["paused"])
        self.assertNotIn("wrap-up", [reason for _, _, reason, _ in await self.history(THIRD)])

    async def test_asked_for_it_lasts(self) -> None:
        """A pause that was asked for during the talk is not ended by the wrap-up."""
        call_id = await self.make_call(THIRD, self.new_phone(LONG))
        await self.reached(call_id, "CLIENT_PICKUP")
        await self.ask("pauseOperator", sip=THIRD, reason="lunch")
        self._hang_up_all()
        await self.finished(call_id)
        await self.sleep(4.0)
        shown = await self.operator(THIRD)
        self.assertEqual((shown["status"], shown["pause_reason"]), ("paused", "lunch"))
        await self.ask("resumeOperator", sip=THIRD)


@on_16(nightly=True)
class InQueues(PauseCase):
    """A pause means pause in Asterisk's own queues, whichever side it was made on."""

    MEMBER = "1055"

    def member(self) -> str:
        """What Asterisk says of the operator in their queue."""
        said: str = self.lab.asterisk.rx("queue show sales")
        (line,) = [line for line in said.splitlines() if f"/{self.MEMBER} " in line]
        return line

    async def in_queue(self, words: str) -> None:
        """Wait until the queue says so of them; an empty text: that they are not paused."""

        def so() -> bool:
            line = self.member()
            return words in line if words else "paused" not in line

        await self.wait_for(so, 10, f"{self.MEMBER} in the queue: {words or 'not paused'}")

    def do(self, what: str, reason: str = "") -> None:
        """Somebody pauses or resumes the operator in Asterisk, as a phone's code does."""
        technology = "SIP" if self.flavour == "chan_sip" else "PJSIP"
        self.lab.asterisk.rx(f"queue {what} member {technology}/{self.MEMBER} queue sales{reason}")

    async def test_asked_for(self) -> None:
        """It is there with the answer, over restarts of either side, until it is ended."""
        await self.ask("pauseOperator", sip=self.MEMBER, reason="lunch")
        self.assertIn("paused:lunch", self.member())
        self.daemon.kill()
        self.lab.asterisk.rx("module unload app_queue.so")
        self.lab.asterisk.rx("module load app_queue.so")
        self.assertNotIn("paused", self.member())
        self.daemon.start()
        await self.in_queue("paused:lunch")
        await self.ask("resumeOperator", sip=self.MEMBER)
        self.assertNotIn("paused", self.member())

    async def test_made_in_asterisk(self) -> None:
        """It is seen here, and so is its end; also one that was made while nobody looked."""
        self.do("pause", " reason smoke")
        await self.is_(self.MEMBER, "paused")
        shown = await self.operator(self.MEMBER)
        self.assertEqual((shown["paused"], shown["pause_reason"]), (True, "smoke"))
        words = "paused in Asterisk's queues"
        self.assertEqual((await self.history(self.MEMBER))[0], ("paused", True, "smoke", words))
        self.do("unpause")
        await self.is_(self.MEMBER, "online")
        self.daemon.stop()
        self.do("pause")
        self.daemon.start()
        await self.is_(self.MEMBER, "paused")
        await self.ask("resumeOperator", sip=self.MEMBER)
        self.assertNotIn("paused", self.member())

    async def test_a_call(self) -> None:
        """While the operator has a call of the CRM's no queue rings them."""
        call_id = await self.make_call(self.MEMBER, self.new_phone(SHORT))
        await self.in_queue("paused:ccdaemon: on a call")
        self.assertFalse((await self.operator(self.MEMBER))["paused"])
        await self.finished(call_id)
        await self.in_queue("")
