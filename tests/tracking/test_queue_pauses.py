"""Pauses reach Asterisk's queues, and those that are made there are heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_actions import Headers
from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.ami.ami_wire import Message
from ccdaemon.calls.model import Direction, State, StateChange
from ccdaemon.errors import Code
from ccdaemon.operators import WRAP_UP
from ccdaemon.queues import BUSY, FREE, Pause, Queues
from ccdaemon.store.facts import StateFact
from ccdaemon.tracking.operator_pauses import IDLE_WITHIN
from ccdaemon.tracking.queue_pauses import AFTER_EVENT, LOOK_EVERY, PUSHED_WITHIN, QueuePauses
from tests.fake_asterisk import FakeAsterisk, event, response
from tests.store.parts import view
from tests.test_queues import SPELLING
from tests.tracking.test_operator_pauses import PausesCase


class QueueAsterisk(FakeAsterisk):
    """Has queues.

    :ivar members: whether each member is paused and why, by queue and interface.
    :ivar refusal: how QueuePause is refused.
    :ivar waits: what QueuePause waits for.
    """

    def __init__(self, *members: tuple[str, str]) -> None:
        super().__init__()
        self.members: dict[tuple[str, str], str | None] = dict.fromkeys(members)
        self.refusal: str | None = None
        self.waits: Deferred[Message] | None = None

    def sendAction(
        self, name: str, headers: Headers | None = None, *, timeout: float | None = None
    ) -> Deferred[Message]:
        """Pause a member, or free one."""
        if name != "QueuePause" or self.trouble is not None:
            return super().sendAction(name, headers, timeout=timeout)
        given = dict(headers or {})
        self.asked.append((name, given))
        if self.refusal is not None:
            return fail(ActionRefused(self.refusal, response()))
        key = str(given["Queue"]), str(given["Interface"])
        self.members[key] = str(given.get("Reason", "")) if given["Paused"] == "true" else None
        return self.waits or succeed(response())

    def sendList(
        self,
        name: str,
        headers: Headers | None = None,
        *,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Deferred[tuple[Message, ...]]:
        """List the members, under their queues."""
        if name != "QueueStatus" or self.trouble is not None:
            return super().sendList(name, headers, timeout=timeout, most=most)
        self.asked.append((name, {}))
        members = [
            event(
                "QueueMember",
                Queue=queue,
                Location=interface,
                StateInterface=interface,
                Paused="0" if reason is None else "1",
                PausedReason=reason or "",
            )
            for (queue, interface), reason in self.members.items()
        ]
        return succeed((event("QueueParams", Queue="sales"), *members))

    @property
    def paused(self) -> Mapping[str, str | None]:
        """Why each member is paused, by interface."""
        return {interface: reason for (_, interface), reason in self.members.items()}

    def told(self, queue: str, interface: str, reason: str | None) -> Message:
        """Somebody else pauses a member, or frees one: what is told of it."""
        self.members[queue, interface] = reason
        return event(
            "QueueMemberPause",
            Queue=queue,
            Interface=interface,
            Paused="0" if reason is None else "1",
            PausedReason=reason or "",
        )


class QueueCase(PausesCase):
    """Operator 1000 is in two queues, 1001 in one."""

    def setUp(self) -> None:
        """Have them, and a session."""
        super().setUp()
        self.look()
        self.asterisk = QueueAsterisk(
            ("sales", "PJSIP/1000"), ("support", "Local/1000@from-queue/n"), ("sales", "PJSIP/1001")
        )
        self.queues = QueuePauses(Queues(SPELLING), self.pauses, self.clock)
        self.pauses.queues = self.queues
        self.up()
        self.addCleanup(self.queues.down)

    def up(self) -> None:
        """A session has begun."""
        self.queues.up(self.asterisk)

    def begun(self, call_id: int = 7, *, final: bool = False) -> None:
        """A call to operator 1000 is made, or is over."""
        call = view(call_id, state=State.CALL, answered=None, sip="1000", final=final)
        call = replace(call, direction=Direction.OUTBOUND)
        told = StateChange(call_id, 1, State.CALL, final, None, "1000", 2, None, None)
        self.journal.append([StateFact(told, call)])

    def of_1000(self) -> set[str | None]:
        """Why 1000 is paused in the queues."""
        paused = self.asterisk.paused
        return {paused["PJSIP/1000"], paused["Local/1000@from-queue/n"]}


class ToAsteriskTests(QueueCase):
    """What is wanted here."""

    def test_asked_for(self) -> None:
        """A pause and its end reach every queue before they are answered, with the reason."""
        self.successResultOf(self.pause())
        self.assertEqual(self.of_1000(), {"lunch"})
        self.assertIsNone(self.asterisk.paused["PJSIP/1001"])
        self.successResultOf(self.resume())
        self.assertEqual(self.of_1000(), {None})

    def test_a_call(self) -> None:
        """From makeCall on, before the phone rings, until it is over."""
        self.begun()
        self.assertEqual(self.of_1000(), {BUSY})
        self.begun(final=True)
        self.assertEqual(self.of_1000(), {None})

    def test_wrap_up(self) -> None:
        """Nobody slips through between the end of a talk and its wrap-up; then that ends."""
        self.device("1000", "INUSE")
        self.journal.append([self.talk()])
        self.assertEqual(self.of_1000(), {BUSY})
        over = self.talk(ended=5)
        self.journal.append([replace(over, call=replace(over.call, final=True))])
        self.assertEqual(self.of_1000(), {BUSY})
        self.device("1000", "NOT_INUSE")
        self.assertEqual(self.of_1000(), {WRAP_UP})
        self.assertNotIn("false", [given.get("Paused") for _, given in self.asterisk.asked])
        self.clock.advance(self.wrap_up)
        self.assertEqual(self.of_1000(), {None})

    def test_an_end_that_nobody_told(self) -> None:
        """An operator of whom it is never told that they are idle is not kept from clients."""
        self.journal.append([self.talk()])
        over = self.talk(ended=5)
        self.journal.append([replace(over, call=replace(over.call, final=True))])
        self.clock.advance(max(IDLE_WITHIN, LOOK_EVERY) + 1)
        self.assertEqual(self.of_1000(), {None})

    def test_asterisk_was_started_anew(self) -> None:
        """Its queues are brought there again."""
        self.successResultOf(self.pause())
        self.queues.down()
        self.asterisk.members = dict.fromkeys(self.asterisk.members)
        self.up()
        self.assertEqual(self.of_1000(), {"lunch"})
        self.assertTrue(self.pauses.wanted("1000").paused)

    def test_without_the_right(self) -> None:
        """The pause counts here all the same; said once a session, and asked for no more."""
        self.asterisk.refusal = "Permission denied"
        self.assertTrue(self.successResultOf(self.pause()).paused)
        self.begun()
        self.assertEqual(self.of_1000(), {None})
        asked = [name for name, _ in self.asterisk.asked if name == "QueuePause"]
        self.assertEqual((asked, self.queues.may_pause), (["QueuePause"], False))

    def test_asterisk_is_slow(self) -> None:
        """Who asked waits a second; what was wanted meanwhile is done afterwards."""
        self.asterisk.waits = Deferred()
        asked = self.pause()
        self.assertNoResult(asked)
        self.clock.advance(PUSHED_WITHIN)
        self.successResultOf(asked)
        self.resume()
        slow, self.asterisk.waits = self.asterisk.waits, None
        slow.callback(response())
        self.assertEqual(self.of_1000(), {None})

    def test_a_member_that_has_gone(self) -> None:
        """It is passed over."""
        self.asterisk.refusal = "Interface not found"
        self.successResultOf(self.pause())
        self.assertEqual(self.asterisk.asked[-1][0], "QueuePause")

    def test_reasons_that_are_ours(self) -> None:
        """Nobody may give them."""
        self.assertEqual(self.refused(self.pause(reason=BUSY)).code, Code.BAD_PARAMETER)

    def test_no_answer(self) -> None:
        """Then it is looked at again, a minute later."""
        self.asterisk.trouble = AMIError("silent")
        self.successResultOf(self.pause())
        self.clock.advance(LOOK_EVERY)
        self.asterisk.trouble = None
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.of_1000(), {"lunch"})


class FromAsteriskTests(QueueCase):
    """What is done there."""

    def hear(self, *events: Message) -> None:
        """It is told, and looked at."""
        for told in events:
            self.queues.heard(told)
        self.clock.advance(AFTER_EVENT)

    def test_paused_by_their_phone(self) -> None:
        """Once they are so in every queue; and resumed by it in one."""
        self.hear(self.asterisk.told("sales", "PJSIP/1000", "smoke"))
        self.assertEqual(self.pauses.wanted("1000"), FREE)
        self.hear(self.asterisk.told("support", "Local/1000@from-queue/n", "smoke"))
        self.assertEqual(
            self.journal.rows[-1], ("paused", True, "smoke", "paused in Asterisk's queues")
        )
        self.hear(self.asterisk.told("sales", "PJSIP/1000", None))
        self.assertEqual(
            self.journal.rows[-1], ("online", False, None, "resumed in Asterisk's queues")
        )
        self.assertEqual(self.of_1000(), {None})

    def test_at_the_start(self) -> None:
        """Who was paused while nobody looked is."""
        self.queues.down()
        self.asterisk.members["sales", "PJSIP/1001"] = ""
        self.up()
        self.assertEqual(self.journal.rows, [("paused", True, None, "paused in Asterisk's queues")])
        self.successResultOf(self.resume("1001"))
        self.assertIsNone(self.asterisk.paused["PJSIP/1001"])

    def test_an_echo(self) -> None:
        """What was asked for makes nobody look."""
        self.successResultOf(self.pause())
        before = len(self.asterisk.asked)
        self.hear(self.asterisk.told("sales", "PJSIP/1000", "lunch"))
        self.assertEqual(len(self.asterisk.asked), before)

    def test_no_wrap_up_by_hand(self) -> None:
        """A pause that would end by itself has no such reason."""
        self.hear(self.asterisk.told("sales", "PJSIP/1001", WRAP_UP))
        self.assertEqual(self.pauses.wanted("1001"), Pause(True, None))

    def test_who_joins(self) -> None:
        """Is paused there, too."""
        self.successResultOf(self.pause("1001"))
        self.asterisk.members["support", "PJSIP/1001"] = None
        self.hear(event("QueueMemberAdded", Queue="support", Interface="PJSIP/1001", Paused="0"))
        self.assertEqual(self.asterisk.members["support", "PJSIP/1001"], "lunch")


class NoQueuesTests(SynchronousTestCase):
    """An Asterisk without app_queue."""

    def test_nobody_is_in_any(self) -> None:
        """The session is good."""
        asterisk = FakeAsterisk()
        asterisk.trouble = ActionRefused("Invalid/unknown command", response())
        queues = QueuePauses(Queues(SPELLING), NobodyPaused(), Clock())
        queues.up(asterisk)
        queues.down()


class NobodyPaused:
    """Operators, all of them free."""

    def wanted(self, sip: str) -> Pause:
        """Let clients through."""
        return FREE

    def changed_in_asterisk(self, sip: str, pause: Pause) -> None:
        """Take no notice."""
