"""What is not kept: ``forgetOrder``, retention in days, who listened, numbers in the log."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.integration.desk import EVERYTHING, FIRST, NEVER, SECOND, SHORT, DeskTestCase

MORE = [*EVERYTHING, "forget", "audit"]
CLIENTS = {"clients": [{"name": "crm", "networks": ["127.0.0.0/8"], "permissions": MORE}]}


class ForgetOrder(DeskTestCase):
    """When asked for."""

    tables: ClassVar[Mapping[str, Any]] = {**DeskTestCase.tables, **CLIENTS}

    async def test_nothing_is_left(self) -> None:
        """Calls, states, recordings, files and what stands in the daemon's own folder."""
        order, other = secrets.token_hex(16), secrets.token_hex(16)
        phone = self.new_phone(SHORT)
        gone = await self.called(FIRST, phone, order_id=order, external_key=f"k{phone}")
        stays = await self.called(SECOND, self.new_phone(SHORT), order_id=other)
        records = [await self.recorded(call_id) for call_id in (gone, stays)]
        files = [self.lab.asterisk.recordings_on_host / record["path"] for record in records]
        status, _, _ = await self.request(f"/api/record/{gone}.mp3")
        self.assertEqual(status, 200)
        response = await self.ask("forgetOrder", order_id=order)
        self.assertEqual(response, {"calls": 1, "recordings": 1})
        self.assertEqual([file.exists() for file in files], [False, True])
        await self.refused(404, "call_unknown", "call", call_id=gone)
        await self.refused(404, "call_unknown", "callHistory", external_key=f"k{phone}")
        for method in ("orderHistory", "orderRecords"):
            self.assertEqual(await self.ask(method, order_id=order), [])
            self.assertNotEqual(await self.ask(method, order_id=other), [])
        rows = await self.ask("callHistory", after=0, limit=1000)
        self.assertNotIn(gone, {row["call_id"] for row in rows})
        self.assertIn(stays, {row["call_id"] for row in rows})
        for path in (f"record/{gone}.wav", f"record/{gone}.mp3"):
            self.assertEqual((await self.request(f"/api/{path}"))[0], 404)
        self.daemon.stop()
        for file in self.daemon.state_dir.rglob("*"):
            if file.is_file() and ".sqlite" in file.name:
                self.assertNotIn(order.encode(), file.read_bytes(), file)
        self.daemon.start()
        await self.refused(404, "call_unknown", "call", call_id=gone)
        # Its key is used for ever, and so is its number.
        error = await self.api(
            "makeCall", sip=FIRST, phone=phone, order_id=other, external_key=f"k{phone}"
        )
        self.assertEqual((error["status_code"], error["error"]["call_id"]), (409, gone))
        again = await self.both("forgetOrder", order_id=order)
        self.assertEqual(again, {"calls": 0, "recordings": 0})
        # Asterisk's log still has it, and is read again where the journal is gone.
        self.daemon.stop()
        for file in self.daemon.state_dir.glob("journal.sqlite*"):
            file.unlink()
        self.daemon.start()
        self.assertEqual(len((await self.ask("callHistory", call_id=stays))[0]["states"]), 6)
        self.assertEqual(await self.ask("callHistory", phone=phone), [])

    async def test_a_phone(self) -> None:
        """Calls to it and from it, in another spelling; nobody else's."""
        phone = self.new_phone(SHORT)
        made = await self.called(FIRST, phone)
        stays = await self.called(FIRST, self.new_phone(SHORT))
        taken = await self.call_in(SECOND, phone=phone)
        await self.finished(taken)
        spelled = f"+{phone[:3]} ({phone[3:5]}) {phone[5:]}"
        response = await self.ask("forgetPhone", phone=spelled)
        self.assertEqual(response["calls"], 2)
        for gone in (made, taken):
            await self.refused(404, "call_unknown", "call", call_id=gone)
        await self.ask("call", call_id=stays)

    async def test_while_a_call_goes_on(self) -> None:
        """It is refused until the call is over."""
        order = secrets.token_hex(16)
        call_id = await self.make_call(NEVER, self.new_phone(), order_id=order)
        error = await self.refused(409, "wrong_state", "forgetOrder", order_id=order)
        self.assertEqual(error["call_id"], call_id)
        await self.finished(call_id)
        self.assertEqual((await self.ask("forgetOrder", order_id=order))["calls"], 1)


class ListenLog(DeskTestCase):
    """Who listened to which recording."""

    tables: ClassVar[Mapping[str, Any]] = {**DeskTestCase.tables, **CLIENTS}

    async def test_downloads(self) -> None:
        """One row for a client and a recording, whatever pieces were asked for; HEAD is none."""
        call_id = await self.called(FIRST, self.new_phone(SHORT))
        record = await self.recorded(call_id)
        path = record["url"].removeprefix(self.daemon.url)
        await self.request(path, "HEAD")
        self.assertEqual((await self.ask("listenLog", call_id=call_id))["total"], 0)
        for _ in range(2):
            await self.request(path, headers={"Range": ["bytes=0-99"]})
        await self.request(f"/mp3/{record['uniqueid']}.mp3")

        async def noted() -> Any:
            return (await self.ask("listenLog", call_id=call_id))["total"]

        await self.wait_for(noted, 5, "that somebody listened")
        (row,) = (await self.both("listenLog", call_id=call_id))["data"]
        self.assertEqual(
            (row["action"], row["by"], row["call_id"], row["detail"]),
            ("playRecord", "crm", call_id, record["uniqueid"]),
        )
        actions = (await self.ask("call", call_id=call_id))["actions"]
        self.assertEqual(actions, [row])

    async def test_a_recording_that_asterisk_has_named(self) -> None:
        """/mp3/<uniqueid>.mp3 is there for clients' calls too."""
        call_id = await self.call_in(SECOND, talk=1.0)
        await self.finished(call_id)
        record = await self.recorded(call_id)
        status, headers, _ = await self.request(f"/mp3/{record['uniqueid']}.mp3")
        self.assertEqual((status, headers["content-type"]), (200, "audio/mpeg"))


class HiddenNumbers(DeskTestCase):
    """With mask_phones the log shows no client's number."""

    tables: ClassVar[Mapping[str, Any]] = {**DeskTestCase.tables, "log": {"mask_phones": True}}

    async def test_in_the_log(self) -> None:
        """Neither of calls made nor of calls taken nor of missed ones."""
        phones = [self.new_phone(SHORT) for _ in range(3)]
        await self.called(FIRST, phones[0], order_id=phones[0])
        await self.finished(await self.call_in(SECOND, phone=phones[1]))
        await self.miss(phones[2])
        await self.idle()
        log = self.daemon.log.read_text()
        self.assertIn("FINISH", log)
        for phone in phones:
            self.assertNotIn(phone, log)
            self.assertIn("**********34", log)
