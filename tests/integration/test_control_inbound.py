"""A hand on a call that the client began: the same methods and phones, the other way round."""

from __future__ import annotations

from tests.integration.hearing import CLIENT, OPERATOR, SECOND, SUPERVISOR, InboundHearingCase


class InboundControlTests(InboundHearingCase):
    """The client calls in, operator 1250 takes it."""

    async def test_hangup(self) -> None:
        """Both phones are put down: FINISH, by api."""
        call_id = await self.incoming()
        await self.ask("hangup", call_id=call_id)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        self.assertEqual((await self.ask("call", call_id=call_id))["hung_up_by"], "api")
        await self.is_over(self.of(OPERATOR))
        await self.is_over(self.of(CLIENT))

    async def test_hangup_while_it_rings(self) -> None:
        """OPERATOR_NOANSWER, by api."""
        self.phone(OPERATOR, "rings")
        self.clients.call(CLIENT, "380440000000")
        await self.rings(OPERATOR)
        [state] = await self.ask("callHistory", per_page=1)
        call_id = state["call_id"]
        for method, more in (("hold", {}), ("transfer", {"sip": SECOND}), ("unhold", {})):
            await self.wrong_state(method, "OPERATOR_CALLTO", call_id=call_id, **more)
        await self.ask("hangup", call_id=call_id)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "OPERATOR_NOANSWER")
        self.assertEqual((await self.ask("call", call_id=call_id))["hung_up_by"], "api")
        await self.is_over(self.of(CLIENT))
        await self.is_over(self.of(OPERATOR))

    async def test_hold_and_back(self) -> None:
        """Music for the client, nothing for the operator; then they hear each other again."""
        call_id = await self.incoming()
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        await self.ask("hold", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"music"}))
        await self.ask("unhold", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual(
            [state["state"] for state in states],
            ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "FINISH"],
        )
        self.assertEqual((await self.ask("call", call_id=call_id))["hung_up_by"], "client")
        await self.is_over(self.of(OPERATOR))

    async def test_the_operator_hangs_up_while_held(self) -> None:
        """The client goes on hearing music; unhold rings the operator anew."""
        call_id = await self.incoming()
        await self.ask("hold", call_id=call_id)
        await self.sleep(0.5)
        self.operators.hang_up(self.of(OPERATOR))
        [client] = await self.hears(CLIENT)
        self.assertEqual(client, {"music"})
        await self.ask("unhold", call_id=call_id)
        await self.is_up(OPERATOR, 2)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.operators.hang_up(self.of(OPERATOR))
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.is_over(self.of(CLIENT))

    async def test_blind_transfer(self) -> None:
        """Client and second hear each other; each operator has a leg and a recording."""
        call_id = await self.incoming()
        await self.sleep(1.0)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.is_over(self.of(OPERATOR))
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        self.operators.hang_up(self.of(SECOND))
        states = await self.finished(call_id)
        self.assertEqual(
            [(state["state"], state["sip"]) for state in states][1:],
            [
                ("OPERATOR_CALLTO", OPERATOR),
                ("OPERATOR_PICKUP", OPERATOR),
                ("OPERATOR_CALLTO", SECOND),
                ("OPERATOR_PICKUP", SECOND),
                ("FINISH", SECOND),
            ],
        )
        await self.is_over(self.of(CLIENT))
        first, second = await self.records(call_id, 2)
        self.assertEqual(self.in_file(first, 0.2, 0.8), {"operator", "client"})
        self.assertEqual(self.in_file(second, 0.2, 1.0), {"second", "client"})

    async def test_attended_transfer(self) -> None:
        """The operator speaks first; then client and second hear each other."""
        call_id = await self.incoming()
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        await self.is_up(SECOND)
        heard = await self.hears(OPERATOR, SECOND, CLIENT)
        self.assertEqual(heard, ({"second"}, {"operator"}, {"music"}))
        await self.ask("transferComplete", call_id=call_id)
        await self.is_over(self.of(OPERATOR))
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        await self.sleep(0.5)
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual((states[-1]["state"], states[-1]["sip"]), ("FINISH", SECOND))
        await self.is_over(self.of(SECOND))
        *_, second = await self.records(call_id, 2)
        self.assertEqual(self.in_file(second, 0.6, second["duration"] - 0.2), {"second", "client"})

    async def test_attended_transfer_taken_back(self) -> None:
        """The operator has the client again."""
        call_id = await self.incoming()
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        await self.is_up(SECOND)
        await self.told(call_id, "OPERATOR_PICKUP", 2)
        await self.ask("transferCancel", call_id=call_id)
        await self.is_over(self.of(SECOND))
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def test_mute_and_listen(self) -> None:
        """The same as in a call of ours."""
        call_id = await self.incoming()
        await self.ask("whisper", call_id=call_id, sip=SUPERVISOR)
        await self.is_up(SUPERVISOR)
        heard = await self.hears(OPERATOR, CLIENT, SUPERVISOR)
        self.assertEqual(heard, ({"client", "supervisor"}, {"operator"}, {"client", "operator"}))
        self.operators.hang_up(self.of(SUPERVISOR))
        await self.ask("mute", call_id=call_id, who="client")
        self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"operator"}))

    async def test_announced(self) -> None:
        """Where recordings are announced the client hears so before the operator's phone rings."""
        self.announce()
        self.clients.call(CLIENT, "380440000000")
        await self.is_up(CLIENT)
        [client] = await self.hears(CLIENT)
        self.assertEqual(client, {"outside"})
        await self.is_up(OPERATOR)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def test_a_pause(self) -> None:
        """Silence in the operator's file, where the record says."""
        call_id = await self.incoming()
        await self.sleep(1.0)
        await self.ask("recordPause", call_id=call_id)
        await self.sleep(1.5)
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(1.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        [record] = await self.records(call_id, 1)
        [[begin, end]] = record["pauses"]
        self.assertEqual(self.in_file(record, 0.2, begin - 0.3), {"operator", "client"})
        self.assertEqual(self.in_file(record, begin + 0.3, end - 0.3), set())
        self.assertEqual(self.in_file(record, end + 0.3, end + 0.8), {"operator", "client"})
