"""makeCall's options, each by what the phones, the chain and the record show."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, HearingCase

#: What a client may be shown.
ALLOWED, STRANGE = "380441112233", "380449998877"
#: Seconds by which a time may be off.
SLACK = 1.6


def seconds(state: dict[str, Any]) -> float:
    """When a state was told."""
    return datetime.fromisoformat(state["date"]).timestamp()


@on_16(nightly=True)
class CallOptionsTests(HearingCase):
    """Each option of makeCall."""

    tables = {**HearingCase.tables, "asterisk": {"caller_ids": [ALLOWED]}}

    async def test_caller_id(self) -> None:
        """The client is shown it; one that is not allowed is refused, and nobody is rung."""
        await self.talk(caller_id=ALLOWED)
        self.assertIn(f"<sip:{ALLOWED}@", self.of(CLIENT).invite.get("from"))
        number = self.rung(OPERATOR)
        asked = {"sip": OPERATOR, "phone": CLIENT, "order_id": "1", "external_key": "stranger"}
        error = await self.refused("makeCall", **asked, caller_id=STRANGE)
        self.assertEqual((error["code"], error["field"]), ("bad_parameter", "caller_id"))
        self.assertEqual(self.rung(OPERATOR), number)

    async def test_operator_timeout(self) -> None:
        """Their phone rings so long and no longer."""
        self.phone(OPERATOR, "rings")
        call_id = await self.make_call(OPERATOR, CLIENT, operator_timeout=2)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "OPERATOR_NOANSWER")
        self.assertLess(abs(seconds(states[-1]) - seconds(states[-2]) - 2), SLACK)

    async def test_client_timeout(self) -> None:
        """The client's phone rings so long and no longer."""
        self.phone(CLIENT, "rings")
        call_id = await self.make_call(OPERATOR, CLIENT, client_timeout=2)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "CLIENT_NOANSWER")
        self.assertLess(abs(seconds(states[-1]) - seconds(states[-2]) - 2), SLACK)

    async def test_max_duration(self) -> None:
        """Then both are put down, and the final detail says why."""
        call_id = await self.talk(max_duration=2)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        self.assertIn("max_duration of 2 s was over", states[-1]["detail"])
        self.assertLess(abs(seconds(states[-1]) - seconds(states[-2]) - 2), SLACK)
        for number in (OPERATOR, CLIENT):
            await self.is_over(self.of(number))
            self.assertEqual(self.of(number).ended_by, "them")

    async def test_max_duration_on_hold(self) -> None:
        """It holds on hold, too, and counts from the answer."""
        call_id = await self.talk(max_duration=3)
        await self.ask("hold", call_id=call_id)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        self.assertIn("max_duration of 3 s was over", states[-1]["detail"])
        self.assertLess(abs(seconds(states[-1]) - seconds(states[-2]) - 3), SLACK)
        await self.is_over(self.of(CLIENT))
        await self.is_over(self.of(OPERATOR))

    async def test_auto_answer(self) -> None:
        """The operator's phone is told to pick up by itself, the client's is not."""
        await self.talk(auto_answer=1)
        invite = self.of(OPERATOR).invite
        self.assertEqual(invite.get("call-info"), "<sip:ccdaemon>;answer-after=0")
        self.assertIn("info=alert-autoanswer", invite.get("alert-info"))
        self.assertEqual(self.of(CLIENT).invite.get("call-info"), "")

    async def test_without(self) -> None:
        """Where it was not asked for it is not told."""
        await self.talk()
        self.assertEqual(self.of(OPERATOR).invite.get("call-info"), "")

    async def test_record_0(self) -> None:
        """No file, no record; the next call is recorded again."""
        before = self.files()
        silent = await self.talk(record=0)
        await self.sleep(1.0)
        await self.ask("hangup", call_id=silent)
        await self.finished(silent)
        self.operators.lines.clear()
        self.clients.lines.clear()
        loud = await self.talk()
        await self.sleep(1.0)
        await self.ask("hangup", call_id=loud)
        await self.finished(loud)
        record = await self.recorded(loud)
        records = (await self.ask("recordList", per_page=1000))["data"]
        self.assertNotIn(silent, [record["call_id"] for record in records])
        self.assertEqual(self.files() - before, {record["path"]})

    def files(self) -> set[str]:
        """Every file among the recordings."""
        folder = self.lab.asterisk.recordings_on_host
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    async def test_note(self) -> None:
        """Echoed in every state and in the record."""
        note = "Grüße, VIP; 100% $x"
        call_id = await self.talk(note=note)
        await self.sleep(1.0)
        await self.ask("hangup", call_id=call_id)
        states = await self.finished(call_id)
        self.assertEqual({state["note"] for state in states}, {note})
        self.assertEqual((await self.recorded(call_id))["note"], note)
        self.assertEqual((await self.ask("call", call_id=call_id))["note"], note)

    async def test_refused(self) -> None:
        """What is outside its range is refused by name."""
        asked = {"sip": OPERATOR, "phone": CLIENT, "order_id": "1", "external_key": "range"}
        for name, value in (
            ("operator_timeout", 0),
            ("client_timeout", 601),
            ("max_duration", 86_401),
            ("auto_answer", 2),
            ("record", "no"),
            ("note", "x" * 501),
            ("caller_id", "anonymous"),
        ):
            error = await self.refused("makeCall", **asked, **{name: value})
            self.assertEqual((error["code"], error["field"]), ("bad_parameter", name))
        self.assertEqual(self.rung(OPERATOR), 0)


@on_16(nightly=True)
class AnnouncedTests(HearingCase):
    """A recording that is announced to the client."""

    async def test_announced(self) -> None:
        """The client hears it before they hear the operator; the operator hears nothing of it."""
        self.announce()
        await self.make_call(OPERATOR, CLIENT)
        await self.is_up(CLIENT)
        [client, operator] = await self.hears(CLIENT, OPERATOR)
        self.assertEqual(client, {"outside"})
        self.assertNotIn("outside", operator)
        await self.sleep(1.0)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def test_nothing_is_announced_where_nothing_is_recorded(self) -> None:
        """With record=0 they hear the operator at once."""
        self.announce()
        await self.talk(record=0)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
