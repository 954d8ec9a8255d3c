"""A hand on the call, row by row: what it does, what every phone hears, when it is refused."""

from __future__ import annotations

import time
from typing import Any

from tests.integration.asking import together
from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, OUTSIDE, SECOND, SUPERVISOR, HearingCase

#: Everything that needs a talk, with what else it needs.
NEED_A_TALK: dict[str, dict[str, str]] = {
    "transfer": {"sip": SECOND},
    "hold": {},
    "mute": {"who": "client"},
    "unmute": {"who": "client"},
    "listen": {"sip": SUPERVISOR},
    "whisper": {"sip": SUPERVISOR},
    "barge": {"sip": SUPERVISOR},
    "recordPause": {},
    "recordResume": {},
}
#: What follows a talk whose client is transferred to somebody who does not answer.
RUNG_AGAIN = [
    ("OPERATOR_CALLTO", SECOND),
    ("OPERATOR_NOANSWER", SECOND),
    ("OPERATOR_CALLTO", OPERATOR),
    ("OPERATOR_PICKUP", OPERATOR),
    ("FINISH", OPERATOR),
]
#: What needs more than a talk.
NEED_MORE: dict[str, dict[str, str]] = {"unhold": {}, "transferComplete": {}, "transferCancel": {}}


@on_16(nightly=True)
class HangupTests(HearingCase):
    """hangup: ends the call in any phase."""

    async def test_a_talk(self) -> None:
        """Both phones are put down; FINISH, hung up by api."""
        call_id = await self.talk()
        answer = await self.ask("hangup", call_id=call_id)
        self.assertEqual(answer["call_id"], call_id)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        for number in (OPERATOR, CLIENT):
            await self.is_over(self.of(number))
            self.assertEqual(self.of(number).ended_by, "them")
        [call] = await self.ask("callHistory", call_id=call_id)
        self.assertEqual(call["hung_up_by"], "api")
        self.assertIn("hangup by crm", await self.words(call_id))

    async def test_while_the_operator_rings(self) -> None:
        """Their phone falls silent, the client's never rings: OPERATOR_NOANSWER."""
        self.phone(OPERATOR, "rings")
        call_id = await self.make_call(OPERATOR, CLIENT)
        line = await self.rings(OPERATOR)
        await self.ask("hangup", call_id=call_id)
        states = await self.finished(call_id)
        self.assertEqual(
            [state["state"] for state in states], ["CALL", "OPERATOR_CALLTO", "OPERATOR_NOANSWER"]
        )
        await self.is_over(line)
        self.assertEqual(self.rung(CLIENT), 0)
        [call] = await self.ask("callHistory", call_id=call_id)
        self.assertEqual(call["hung_up_by"], "api")

    async def test_while_the_client_rings(self) -> None:
        """Both phones are put down: CLIENT_NOANSWER."""
        self.phone(CLIENT, "rings")
        call_id = await self.make_call(OPERATOR, CLIENT)
        line = await self.rings(CLIENT)
        await self.ask("hangup", call_id=call_id)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "CLIENT_NOANSWER")
        await self.is_over(line)
        await self.is_over(self.of(OPERATOR))
        [call] = await self.ask("callHistory", call_id=call_id)
        self.assertEqual(call["hung_up_by"], "api")

    async def test_at_once(self) -> None:
        """Asked for right after makeCall it ends the call as well."""
        call_id = await self.make_call(OPERATOR, CLIENT)
        await self.ask("hangup", call_id=call_id)
        await self.finished(call_id)
        [call] = await self.ask("callHistory", call_id=call_id)
        self.assertEqual(call["hung_up_by"], "api")

    async def test_refused(self) -> None:
        """A call that has ended, or never was."""
        call_id = await self.talk()
        await self.ask("hangup", call_id=call_id)
        await self.finished(call_id)
        for method, more in {"hangup": {}, **NEED_A_TALK, **NEED_MORE}.items():
            await self.wrong_state(method, "FINISH", call_id=call_id, **more)
            error = await self.refused(method, call_id=2_000_000_000, **more)
            self.assertEqual(error["code"], "call_unknown", method)


class WrongStateTests(HearingCase):
    """What needs a talk is refused while there is none, with the state found."""

    async def test_while_the_operator_rings(self) -> None:
        """OPERATOR_CALLTO."""
        self.phone(OPERATOR, "rings")
        call_id = await self.make_call(OPERATOR, CLIENT)
        await self.told(call_id, "OPERATOR_CALLTO")
        for method, more in {**NEED_A_TALK, **NEED_MORE}.items():
            await self.wrong_state(method, "OPERATOR_CALLTO", call_id=call_id, **more)

    async def test_while_the_client_rings(self) -> None:
        """CLIENT_CALLTO."""
        self.phone(CLIENT, "rings")
        call_id = await self.make_call(OPERATOR, CLIENT)
        await self.told(call_id, "CLIENT_CALLTO")
        for method, more in {**NEED_A_TALK, **NEED_MORE}.items():
            await self.wrong_state(method, "CLIENT_CALLTO", call_id=call_id, **more)

    async def test_in_a_talk(self) -> None:
        """What is not held cannot be taken off hold; what is not consulted not completed."""
        call_id = await self.talk()
        for method in NEED_MORE:
            await self.wrong_state(method, "CLIENT_PICKUP", call_id=call_id)

    async def test_on_hold(self) -> None:
        """Who is on hold is neither held again, nor muted, nor listened to."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        for method in ("hold", "mute", "unmute", "listen", "whisper", "barge"):
            more = NEED_A_TALK[method]
            await self.wrong_state(method, "CLIENT_PICKUP", call_id=call_id, **more)
        await self.wrong_state(
            "transfer", "CLIENT_PICKUP", call_id=call_id, sip=SECOND, mode="attended"
        )

    async def test_two_at_once(self) -> None:
        """Of two who want the same the second is told that it is done."""
        call_id = await self.talk()
        answers = await together([self.api("hold", call_id=call_id) for _ in range(2)])
        self.assertEqual(sorted(answer["status_code"] for answer in answers), [200, 409])


@on_16(nightly=True)
class HoldTests(HearingCase):
    """hold, unhold: the client hears music, the operator nothing."""

    async def test_and_back(self) -> None:
        """Music for the client, silence for the operator; then they hear each other again."""
        call_id = await self.talk()
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        await self.ask("hold", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"music"}))
        await self.ask("unhold", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual(
            [state["state"] for state in states][-2:], ["CLIENT_PICKUP", "FINISH"], states
        )
        await self.is_over(self.of(OPERATOR))
        [call] = await self.ask("callHistory", call_id=call_id)
        self.assertEqual(call["hung_up_by"], "client")
        words = await self.words(call_id)
        self.assertIn("hold by crm", words)
        self.assertIn("unhold by crm", words)

    async def test_the_operator_hangs_up_and_is_rung_again(self) -> None:
        """The client goes on hearing music; unhold rings the operator, a new leg."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        await self.sleep(0.5)
        self.operators.hang_up(self.of(OPERATOR))
        [client] = await self.hears(CLIENT)
        self.assertEqual(client, {"music"})
        self.assertFalse((await self.states(call_id))[-1]["final"])
        await self.wait_for(lambda: self._free(OPERATOR), 5, "the operator is free")
        await self.ask("unhold", call_id=call_id)
        await self.is_up(OPERATOR, 2)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.operators.hang_up(self.of(OPERATOR))
        states = await self.finished(call_id)
        self.assertEqual(
            [(state["state"], state["leg"]) for state in states][-3:],
            [
                ("OPERATOR_CALLTO", "operator-2"),
                ("OPERATOR_PICKUP", "operator-2"),
                ("FINISH", None),
            ],
        )
        await self.is_over(self.of(CLIENT))

    async def _free(self, sip: str) -> bool:
        listed = await self.ask("sipList", sip=sip)
        return bool(listed["data"][0]["status"] == "online")

    async def test_nobody_answers(self) -> None:
        """The client goes back on hold, and can be taken off it again."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        await self.sleep(0.5)
        self.operators.hang_up(self.of(OPERATOR))
        await self.wait_for(lambda: self._free(OPERATOR), 5, "the operator is free")
        self.phone(OPERATOR, "busy")
        await self.ask("unhold", call_id=call_id)
        await self.told(call_id, "OPERATOR_BUSY")
        [client] = await self.hears(CLIENT)
        self.assertEqual(client, {"music"})
        self.phone(OPERATOR)
        await self.wait_for(lambda: self._free(OPERATOR), 5, "the operator is free")
        await self.ask("unhold", call_id=call_id)
        await self.is_up(OPERATOR, 3)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def test_a_daemon_that_was_restarted_knows_it(self) -> None:
        """Nobody's phone notices; unhold brings the two together again."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        self.daemon.kill()
        self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"music"}))
        self.daemon.start()
        await self.wrong_state("hold", "CLIENT_PICKUP", call_id=call_id)
        await self.ask("unhold", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual([state["final"] for state in states].count(True), 1)

    async def test_the_client_hangs_up(self) -> None:
        """The operator who waits is put down as well; one final state."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        await self.sleep(0.5)
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.is_over(self.of(OPERATOR))

    async def test_hang_up_what_is_held(self) -> None:
        """hangup ends it."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        await self.ask("hangup", call_id=call_id)
        await self.finished(call_id)
        await self.is_over(self.of(OPERATOR))
        await self.is_over(self.of(CLIENT))


@on_16(nightly=True)
class BlindTransferTests(HearingCase):
    """transfer, blind: the client goes to somebody else at once."""

    async def test_to_an_operator(self) -> None:
        """The first is put down; client and second hear each other; talk seconds for each."""
        call_id = await self.talk()
        first = self.of(OPERATOR)
        await self.sleep(1.0)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.is_over(first)
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual(
            [(state["state"], state["leg"], state["sip"]) for state in states],
            [
                ("CALL", None, OPERATOR),
                ("OPERATOR_CALLTO", "operator-1", OPERATOR),
                ("OPERATOR_PICKUP", "operator-1", OPERATOR),
                ("CLIENT_CALLTO", "client", OPERATOR),
                ("CLIENT_PICKUP", "client", OPERATOR),
                ("OPERATOR_CALLTO", "operator-2", SECOND),
                ("OPERATOR_PICKUP", "operator-2", SECOND),
                ("FINISH", None, SECOND),
            ],
        )
        self.assertEqual([state["final"] for state in states], [False] * 7 + [True])
        call = await self.ask("call", call_id=call_id)
        talked = {leg["name"]: leg["talk_seconds"] for leg in call["legs"]}
        self.assertTrue(0.9 < talked["operator-1"] < 2.5, talked)
        self.assertTrue(0.9 < talked["operator-2"] < 4.0, talked)
        both = talked["operator-1"] + talked["operator-2"]
        self.assertLess(abs(call["talk_seconds"] - both), 0.5)
        [done] = call["actions"]
        self.assertEqual(
            (done["action"], done["by"], done["sip"]), ("transfer", "crm", SECOND), done
        )
        self.assertIn("transfer by crm", await self.words(call_id))

    async def test_to_a_phone_outside(self) -> None:
        """Client and the phone outside hear each other."""
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, phone=OUTSIDE)
        await self.is_up(OUTSIDE)
        await self.is_over(self.of(OPERATOR))
        self.assertEqual(await self.hears(OUTSIDE, CLIENT), ({"client"}, {"outside"}))
        self.clients.hang_up(self.of(OUTSIDE))
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.is_over(self.of(CLIENT))

    async def test_without_the_daemon(self) -> None:
        """Once it is begun the daemon is not needed: the first operator is rung again."""
        self.phone(SECOND, "rings")
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.rings(SECOND)
        self.daemon.kill()
        await self.is_up(OPERATOR, 2)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.daemon.start()
        self.operators.hang_up(self.of(OPERATOR))
        states = await self.finished(call_id)
        self.assertEqual(
            [(state["state"], state["sip"]) for state in states][5:],
            RUNG_AGAIN,
        )

    async def test_nobody_takes_it(self) -> None:
        """The first operator is rung again and has the client back; music meanwhile."""
        self.phone(SECOND, "rings")
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.rings(SECOND)
        [client] = await self.hears(CLIENT)
        self.assertEqual(client, {"music"})
        await self.wrong_state("hold", "OPERATOR_CALLTO", call_id=call_id)
        await self.is_up(OPERATOR, 2)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.operators.hang_up(self.of(OPERATOR))
        states = await self.finished(call_id)
        self.assertEqual(
            [(state["state"], state["sip"]) for state in states][5:],
            RUNG_AGAIN,
        )

    async def test_nobody_at_all(self) -> None:
        """Neither the second nor the first: the client is put down, the talk was one."""
        self.phone(SECOND, "busy")
        call_id = await self.talk()
        self.phone(OPERATOR, "busy")
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        self.assertIn(("OPERATOR_BUSY", SECOND), [(s["state"], s["sip"]) for s in states])
        await self.is_over(self.of(CLIENT))

    async def test_what_is_held(self) -> None:
        """From hold as well; the operator who waits is put down."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        await self.sleep(0.5)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.is_over(self.of(OPERATOR))
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))

    async def test_refused(self) -> None:
        """A number that may not be dialled, an operator who is busy, offline, unknown; nobody."""
        self.daemon.configure(limits={"forbidden_prefixes": ["3809"]})
        self.daemon.stop()
        self.daemon.start()
        call_id = await self.talk()
        self.unregister("1141")
        for code, more in (
            ("phone_not_allowed", {"phone": "380900000000"}),
            ("operator_busy", {"sip": OPERATOR}),
            ("operator_offline", {"sip": "1141"}),
            ("operator_unknown", {"sip": "9999"}),
            ("missing_parameter", {}),
            ("bad_parameter", {"sip": SECOND, "phone": OUTSIDE}),
        ):
            error = await self.refused("transfer", call_id=call_id, **more)
            self.assertEqual(error["code"], code, error)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))


@on_16(nightly=True)
class AttendedTransferTests(HearingCase):
    """transfer, attended: the operator speaks first."""

    async def consult(self) -> int:
        """The operator speaks with the second while the client hears music."""
        call_id = await self.talk()
        await self.sleep(1.0)
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        await self.is_up(SECOND)
        heard = await self.hears(OPERATOR, SECOND, CLIENT)
        self.assertEqual(heard, ({"second"}, {"operator"}, {"music"}))
        return call_id

    async def test_complete(self) -> None:
        """transferComplete: the operator is put down, client and second hear each other."""
        call_id = await self.consult()
        first = self.of(OPERATOR)
        await self.ask("transferComplete", call_id=call_id)
        await self.is_over(first)
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        await self.sleep(0.5)
        self.operators.hang_up(self.of(SECOND))
        states = await self.finished(call_id)
        self.assertEqual(
            [(state["state"], state["leg"], state["sip"]) for state in states][5:],
            [
                ("OPERATOR_CALLTO", "operator-2", SECOND),
                ("OPERATOR_PICKUP", "operator-2", SECOND),
                ("FINISH", None, SECOND),
            ],
        )
        await self.is_over(self.of(CLIENT))
        self.assertIn("transferComplete by crm", await self.words(call_id))
        record = await self.recorded(call_id)
        end = record["duration"]
        self.assertEqual(self.in_file(record, 0.1, 0.5), {"operator", "client"})
        self.assertEqual(self.in_file(record, end - 0.8, end - 0.2), {"second", "client"})

    async def test_the_operator_hangs_up(self) -> None:
        """So does a phone that is put down."""
        call_id = await self.consult()
        self.operators.hang_up(self.of(OPERATOR))
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        await self.ask("hold", call_id=call_id)
        self.assertEqual(await self.hears(SECOND, CLIENT), (set(), {"music"}))
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        await self.is_over(self.of(SECOND))

    async def test_cancel(self) -> None:
        """transferCancel: the second is put down, the operator has the client back."""
        call_id = await self.consult()
        second = self.of(SECOND)
        await self.ask("transferCancel", call_id=call_id)
        await self.is_over(second)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.operators.hang_up(self.of(OPERATOR))
        states = await self.finished(call_id)
        self.assertEqual((states[-1]["state"], states[-1]["sip"]), ("FINISH", OPERATOR))

    async def test_cancel_while_it_rings(self) -> None:
        """Before the second has answered, too; completing is refused then."""
        self.phone(SECOND, "rings")
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        line = await self.rings(SECOND)
        await self.told(call_id, "OPERATOR_CALLTO", 2)
        await self.wrong_state("transferComplete", "OPERATOR_CALLTO", call_id=call_id)
        await self.ask("transferCancel", call_id=call_id)
        await self.is_over(line)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def test_the_second_is_busy(self) -> None:
        """The operator takes the client back without help."""
        self.phone(SECOND, "busy")
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        await self.told(call_id, "OPERATOR_BUSY")
        # Said before the end of their channel, and of their phone, not of the client's.
        self.assertIn("BUSY|SIP 486", self.lab.asterisk.cel_file_on_host.read_text("utf-8"))
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        await self.ask("hold", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"music"}))


@on_16(nightly=True)
class MuteTests(HearingCase):
    """mute, unmute: one direction silent."""

    async def test_the_operator(self) -> None:
        """The client hears nothing, the operator goes on hearing them."""
        call_id = await self.talk()
        await self.ask("mute", call_id=call_id, who="operator")
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, set()))
        await self.ask("unmute", call_id=call_id, who="operator")
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def test_the_client(self) -> None:
        """The operator hears nothing, the client goes on hearing them."""
        call_id = await self.talk()
        await self.ask("mute", call_id=call_id, who="client")
        self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"operator"}))
        await self.ask("unmute", call_id=call_id, who="client")
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))


@on_16(nightly=True)
class MuteMissingTests(HearingCase):
    """An Asterisk that cannot mute."""

    async def test_said_so(self) -> None:
        """Refused with Asterisk's words; the two go on hearing each other."""
        asterisk = self.lab.asterisk
        asterisk.rx("module unload res_mutestream.so")
        self.addCleanup(asterisk.rx, "module load res_mutestream.so")
        call_id = await self.talk()
        error = await self.refused("mute", call_id=call_id, who="operator")
        self.assertEqual(error["code"], "asterisk_refused", error)
        self.assertIn("res_mutestream", error["message"])
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))


@on_16(nightly=True)
class SupervisorTests(HearingCase):
    """listen, whisper, barge: who hears the supervisor; no tone for anybody."""

    async def supervised(self, method: str) -> tuple[set[str], ...]:
        """A talk with a supervisor: who is heard by operator, client, supervisor."""
        call_id = await self.talk()
        since = time.time()
        await self.ask(method, call_id=call_id, sip=SUPERVISOR)
        await self.is_up(SUPERVISOR)
        heard = await self.hears(OPERATOR, CLIENT, SUPERVISOR)
        self.no_tone(since, OPERATOR, CLIENT, SUPERVISOR)
        self.assertEqual(len(await self.states(call_id)), 5)
        [done] = (await self.ask("call", call_id=call_id))["actions"]
        self.assertEqual((done["action"], done["sip"]), (method, SUPERVISOR), done)

        async def noted() -> Any:
            return (await self.ask("listenLog", call_id=call_id))["data"]

        self.assertEqual(await self.wait_for(noted, 10, "that somebody listened"), [done])
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        await self.is_over(self.of(SUPERVISOR))
        return heard

    async def test_listen(self) -> None:
        """The supervisor hears both, nobody hears them; their call ends with theirs."""
        heard = await self.supervised("listen")
        self.assertEqual(heard, ({"client"}, {"operator"}, {"client", "operator"}))

    async def test_whisper(self) -> None:
        """Only the operator hears them."""
        heard = await self.supervised("whisper")
        self.assertEqual(heard, ({"client", "supervisor"}, {"operator"}, {"client", "operator"}))

    async def test_barge(self) -> None:
        """Both hear them."""
        heard = await self.supervised("barge")
        both = {"operator", "supervisor"}
        self.assertEqual(heard, ({"client", "supervisor"}, both, {"client", "operator"}))

    async def test_the_supervisor_hangs_up(self) -> None:
        """The talk goes on."""
        call_id = await self.talk()
        await self.ask("barge", call_id=call_id, sip=SUPERVISOR)
        line = await self.is_up(SUPERVISOR)
        self.operators.hang_up(line)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.assertFalse((await self.states(call_id))[-1]["final"])

    async def test_refused(self) -> None:
        """A supervisor who is offline, on the phone, or nobody."""
        call_id = await self.talk()
        self.unregister("1141")
        for code, sip in (
            ("operator_busy", OPERATOR),
            ("operator_offline", "1141"),
            ("operator_unknown", "9999"),
        ):
            for method in ("listen", "whisper", "barge"):
                error = await self.refused(method, call_id=call_id, sip=sip)
                self.assertEqual(error["code"], code, error)


@on_16(nightly=True)
class RecordPauseTests(HearingCase):
    """recordPause, recordResume: silence in the file, marked in the record."""

    async def test_a_pause(self) -> None:
        """Both are in the file, then nobody, then both; the record says from when to when."""
        call_id = await self.talk()
        await self.sleep(1.5)
        await self.ask("recordPause", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        await self.sleep(0.8)
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(1.5)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        record = await self.recorded(call_id)
        [[begin, end]] = record["pauses"]
        self.assertTrue(1.0 < begin < 2.5 and 1.8 < end - begin < 3.5, record)
        self.assertEqual(self.in_file(record, 0.2, begin - 0.3), {"operator", "client"})
        self.assertEqual(self.in_file(record, begin + 0.3, end - 0.3), set())
        self.assertEqual(
            self.in_file(record, end + 0.3, record["duration"] - 0.2), {"operator", "client"}
        )
        self.assertIn("recordPause by crm", await self.words(call_id))

    async def test_until_the_end(self) -> None:
        """A pause that nobody ends lasts until the end of the file; a restart forgets none."""
        call_id = await self.talk()
        await self.sleep(1.0)
        await self.ask("recordPause", call_id=call_id)
        self.daemon.stop()
        self.daemon.start()
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        record = await self.recorded(call_id)
        [[begin, end]] = record["pauses"]
        self.assertEqual(end, record["duration"])
        self.assertEqual(self.in_file(record, begin + 0.3, end), set())

    async def test_a_pause_outlives_a_transfer(self) -> None:
        """Whoever the client talks with: silence until it is resumed."""
        call_id = await self.talk()
        await self.sleep(1.0)
        await self.ask("recordPause", call_id=call_id)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.sleep(1.5)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        record = await self.recorded(call_id)
        [[begin, end]] = record["pauses"]
        self.assertEqual(self.in_file(record, 0.2, begin - 0.3), {"operator", "client"})
        self.assertEqual(self.in_file(record, begin + 0.3, end), set())
        self.assertGreater(end - begin, 1.0)

    async def test_over_a_transfer(self) -> None:
        """The recording goes on with the client; a pause after a transfer is where it says."""
        call_id = await self.talk()
        await self.sleep(1.0)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.sleep(1.5)
        await self.ask("recordPause", call_id=call_id)
        await self.sleep(1.5)
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(1.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        record = await self.recorded(call_id)
        [[begin, end]] = record["pauses"]
        self.assertEqual(self.in_file(record, 0.2, 0.8), {"operator", "client"})
        self.assertEqual(self.in_file(record, begin - 1.0, begin - 0.3), {"second", "client"})
        self.assertEqual(self.in_file(record, begin + 0.3, end - 0.3), set())
        self.assertEqual(self.in_file(record, end + 0.3, end + 0.8), {"second", "client"})


class NotRecordedTests(HearingCase):
    """Where nothing is recorded."""

    async def test_not_recorded(self) -> None:
        """There is nothing to pause."""
        self.daemon.stop()
        self.daemon.configure(asterisk={"record": False})
        self.daemon.start()
        call_id = await self.talk()
        for method in ("recordPause", "recordResume"):
            await self.wrong_state(method, "CLIENT_PICKUP", call_id=call_id)
