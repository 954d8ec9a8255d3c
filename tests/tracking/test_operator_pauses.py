"""Pauses: asked for or after a talk, kept over restarts, ended by themselves where they should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.calls.model import LegView, State, StateChange
from ccdaemon.config.validators import Pattern
from ccdaemon.errors import Code, Refused
from ccdaemon.operators import WRAP_UP, OperatorChange, Operators, Status
from ccdaemon.pbx.endpoints import Endpoints
from ccdaemon.store.facts import Event, Fact, OperatorFact, StateFact
from ccdaemon.store.failures import JournalFull
from ccdaemon.store.journal import JournalHealth
from ccdaemon.store.records import Chain
from ccdaemon.tracking.operator_pauses import LOOK_AGAIN, OperatorPauses
from ccdaemon.tracking.presence import Presence
from tests.clocks import Wall
from tests.store.parts import view


class Journal:
    """A journal in memory that tells its listeners at once."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.listeners: list[Any] = []
        self.broken: str | None = None
        self.failure: Exception | None = None

    def append(self, facts: Sequence[Fact]) -> Deferred[list[int]]:
        """Keep facts."""
        if self.failure is not None:
            return fail(self.failure)
        self.facts += facts
        for listener in list(self.listeners):
            listener([Event(len(self.facts), fact) for fact in facts])
        return succeed([len(self.facts)])

    def subscribe(self, listener: Any) -> Any:
        """Have somebody listen."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    @property
    def health(self) -> JournalHealth:
        """How it is."""
        return JournalHealth(self.broken, 0, 0, 0, 0, 0)

    @property
    def rows(self) -> list[tuple[str, bool, str | None, str | None]]:
        """Status, pause, its reason and the detail of each operator's row."""
        changes = [fact.change for fact in self.facts if isinstance(fact, OperatorFact)]
        return [(row.state.value, row.paused, row.pause_reason, row.detail) for row in changes]


class PausesCase(SynchronousTestCase):
    """Operators 1000 and 1001, registered and idle; 20 seconds of wrap-up."""

    wrap_up = 20

    def setUp(self) -> None:
        """Have them."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.on_call: dict[str, int] = {}
        self.start({})

    def start(self, last: dict[str, OperatorChange], chains: Sequence[Chain] = ()) -> None:
        """Start the daemon's part, as after what the journal says last."""
        self.journal = Journal()
        self.operators = Operators()
        endpoints = Endpoints(["PJSIP/{sip}"], Pattern("[0-9]{4}"))
        self.presence = Presence(
            endpoints, self.operators, self.journal.append, self.on_call.get, Wall(self.clock)
        )
        self.pauses = OperatorPauses(
            self.operators,
            self.presence,
            self.journal,  # type: ignore[arg-type]
            Wall(self.clock),
            self.wrap_up,
        )
        self.pauses.startService()
        self.addCleanup(lambda: self.pauses.stopService() if self.pauses.running else None)
        self.presence.remember(last)
        self.pauses.remember(last, chains)

    def look(self) -> None:
        """Asterisk says that both are idle."""
        found = self.operators.looked({"1000": "NOT_INUSE", "1001": "NOT_INUSE"}, 1, lambda _: None)
        self.presence.record(found)
        self.journal.facts.clear()

    def device(self, sip: str, state: str) -> None:
        """Asterisk says what an operator's device does."""
        changes = self.operators.seen(sip, state, int(self.clock.seconds() * 1000))
        self.presence.record(changes)

    def pause(self, sip: str = "1000", reason: str | None = "lunch") -> Deferred[Any]:
        """Ask for a pause."""
        return Deferred.fromCoroutine(self.pauses.pause(sip=sip, reason=reason, client="crm"))

    def resume(self, sip: str = "1000") -> Deferred[Any]:
        """Ask for its end."""
        return Deferred.fromCoroutine(self.pauses.resume(sip=sip, client="crm"))

    def refused(self, asked: Deferred[Any]) -> Refused:
        """The refusal that came."""
        error = self.failureResultOf(asked, Refused).value
        assert isinstance(error, Refused)
        return error

    def talk(self, sip: str = "1000", call_id: int = 7, ended: int | None = None) -> StateFact:
        """A call's state while the operator talks, or when their leg has ended."""
        leg = LegView("operator-1", sip, None, 1, 2, ended, None, None, None)
        call = view(call_id, state=State.CLIENT_PICKUP, answered=2, sip=sip, legs=(leg,))
        told = StateChange(call_id, 5, State.CLIENT_PICKUP, False, None, sip, 2, None, None)
        return StateFact(told, call)

    def status(self, sip: str = "1000") -> Status | None:
        """What is seen of an operator."""
        return self.operators.status(sip)


class Restarted(PausesCase):
    """Wrap-ups that went on when the daemon ended."""

    def test_the_clock_was_put_back(self) -> None:
        """No wrap-up lasts longer than it should for having begun at a moment that is to come."""
        row = OperatorChange(
            "1000", Status.PAUSED, "NOT_INUSE", None, 4_600_000, None, True, WRAP_UP
        )
        self.start({"1000": row})
        self.look()
        self.clock.advance(self.wrap_up - 1)
        self.assertEqual(self.status(), Status.PAUSED)
        self.clock.advance(1)
        self.assertEqual(self.status(), Status.ONLINE)


class Asked(PausesCase):
    """Pauses that somebody asked for."""

    def test_paused_and_resumed(self) -> None:
        """Each is a row that says by whom, and the answer is the operator as they stand then."""
        self.look()
        paused = self.successResultOf(self.pause())
        self.assertEqual(
            (paused.status, paused.paused, paused.pause_reason), (Status.PAUSED, True, "lunch")
        )
        resumed = self.successResultOf(self.resume())
        self.assertEqual(
            (resumed.status, resumed.paused, resumed.pause_reason), (Status.ONLINE, False, None)
        )
        self.assertEqual(
            self.journal.rows,
            [
                ("paused", True, "lunch", "paused by crm"),
                ("online", False, None, "resumed by crm"),
            ],
        )

    def test_said_twice(self) -> None:
        """The same again is no row and no error."""
        self.look()
        for _ in range(2):
            self.successResultOf(self.pause())
        self.assertEqual(len(self.journal.rows), 1)
        for _ in range(2):
            self.successResultOf(self.resume())
        self.assertEqual(len(self.journal.rows), 2)

    def test_while_in_use(self) -> None:
        """In use wins, and the row names the call; afterwards they are paused."""
        self.look()
        self.device("1000", "INUSE")
        self.on_call["1000"] = 7
        self.assertIs(self.successResultOf(self.pause()).status, Status.INUSE)
        fact = self.journal.facts[-1]
        assert isinstance(fact, OperatorFact)
        self.assertEqual(fact.change.call_id, 7)
        self.device("1000", "NOT_INUSE")
        self.assertIs(self.status(), Status.PAUSED)

    def test_unknown(self) -> None:
        """Nobody's number is operator_unknown where Asterisk can be asked, else unavailable."""
        self.look()
        error = self.refused(self.pause("1999"))
        self.assertIs(error.code, Code.ASTERISK_UNAVAILABLE)

        async def nobody(sip: str) -> None:
            return None

        async def gone(sip: str) -> None:
            raise AMIError("the link broke")

        self.patch(self.presence, "status", nobody)
        self.patch(self.presence, "_session", object())
        error = self.refused(self.pause("1999"))
        self.assertEqual((error.code, error.field), (Code.OPERATOR_UNKNOWN, "sip"))
        self.patch(self.presence, "status", gone)
        self.assertIs(self.refused(self.resume("1999")).code, Code.ASTERISK_UNAVAILABLE)

    def test_the_reason_that_is_taken(self) -> None:
        """Wrap-up is a reason that only the daemon gives."""
        self.look()
        error = self.refused(self.pause(reason=WRAP_UP))
        self.assertEqual((error.code, error.field), (Code.BAD_PARAMETER, "reason"))

    def test_what_cannot_be_kept(self) -> None:
        """It is refused, and asked for again it is kept."""
        self.look()
        self.journal.broken = "disk full"
        self.assertIs(self.refused(self.pause()).code, Code.NOT_READY)
        self.assertIs(self.status(), Status.ONLINE)
        self.journal.broken, self.journal.failure = None, JournalFull("no room")
        self.assertIs(self.refused(self.pause()).code, Code.NOT_READY)
        self.journal.failure = None
        self.successResultOf(self.pause())
        self.assertEqual(len(self.journal.rows), 1)

    def test_over_a_restart(self) -> None:
        """Whom the last row calls paused stays so."""
        last = OperatorChange("1000", Status.PAUSED, "NOT_INUSE", None, 5, None, True, "lunch")
        self.start({"1000": last})
        self.look()
        self.clock.advance(10_000)
        self.assertIs(self.status(), Status.PAUSED)


class WrapUp(PausesCase):
    """Pauses that a talk leaves behind."""

    def talked(self, sip: str = "1000") -> None:
        """An operator talks with a client and hangs up."""
        self.device(sip, "INUSE")
        self.journal.append([self.talk(sip)])
        self.device(sip, "NOT_INUSE")

    def test_after_a_talk(self) -> None:
        """They are paused for so many seconds, then online again, each with a row."""
        self.look()
        self.talked()
        self.assertIs(self.status(), Status.PAUSED)
        self.clock.advance(19.9)
        self.assertIs(self.status(), Status.PAUSED)
        self.clock.advance(0.2)
        self.assertIs(self.status(), Status.ONLINE)
        self.assertEqual(
            self.journal.rows[2:],
            [
                ("paused", True, WRAP_UP, "20 s after call 7"),
                ("online", False, None, "wrap-up is over"),
            ],
        )
        self.assertIs(self.status("1001"), Status.ONLINE)

    def test_without_a_talk(self) -> None:
        """Ringing in vain, or a talk that is none of ours, leaves no pause behind."""
        self.look()
        for state in ("RINGING", "NOT_INUSE", "INUSE", "NOT_INUSE"):
            self.device("1000", state)
        self.assertIs(self.status(), Status.ONLINE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_leg_of_the_call(self) -> None:
        """Whose leg has ended before is not talking, however the call goes on."""
        self.look()
        self.journal.append([self.talk(ended=3)])
        self.device("1000", "RINGING")
        self.device("1000", "NOT_INUSE")
        self.assertIs(self.status(), Status.ONLINE)

    def test_ended_sooner(self) -> None:
        """Resumed by hand they stay online."""
        self.look()
        self.talked()
        self.successResultOf(self.resume())
        self.assertIs(self.status(), Status.ONLINE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_pause_asked_for_wins(self) -> None:
        """Asked for before or during the wrap-up, it lasts."""
        self.look()
        self.successResultOf(self.pause())
        self.talked()
        self.talked("1001")
        self.successResultOf(self.pause("1001"))
        self.clock.advance(100)
        for sip in ("1000", "1001"):
            self.assertIs(self.status(sip), Status.PAUSED)
        self.assertEqual(
            {view.pause_reason for view in self.operators.views(lambda _: None)}, {"lunch"}
        )

    def test_a_talk_during_it(self) -> None:
        """The time begins anew after the next talk."""
        self.look()
        self.talked()
        self.clock.advance(15)
        self.talked()
        self.clock.advance(15)
        self.assertIs(self.status(), Status.PAUSED)
        self.clock.advance(6)
        self.assertIs(self.status(), Status.ONLINE)

    def test_ended_in_the_middle_of_the_next_call(self) -> None:
        """When its time is over in use, they are in use and no longer paused."""
        self.look()
        self.talked()
        self.device("1000", "RINGING")
        self.clock.advance(20)
        self.assertIs(self.status(), Status.INUSE)
        self.device("1000", "NOT_INUSE")
        self.assertIs(self.status(), Status.ONLINE)

    def test_over_a_restart(self) -> None:
        """What is left of it is waited for after a start, also until Asterisk has told of them."""
        began = int((self.clock.seconds() - 15) * 1000)
        last = OperatorChange("1000", Status.PAUSED, "NOT_INUSE", 1, began, None, True, WRAP_UP)
        self.start({"1000": last})
        self.clock.advance(5)
        self.look()
        self.assertIs(self.status(), Status.PAUSED)
        self.clock.advance(LOOK_AGAIN)
        self.assertIs(self.status(), Status.ONLINE)

    def test_a_talk_over_a_restart(self) -> None:
        """A talk that went on while the daemon was away has its wrap-up."""
        fact = self.talk()
        self.start({}, [Chain(replace(fact.call, sip="1000"), [], [])])
        self.look()
        self.device("1000", "INUSE")
        self.device("1000", "NOT_INUSE")
        self.assertIs(self.status(), Status.PAUSED)

    def test_stopped(self) -> None:
        """Nothing is left when the daemon stops."""
        self.look()
        self.talked()
        self.pauses.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.journal.listeners, [])

    def test_what_cannot_be_kept(self) -> None:
        """It is said in the log, and they are paused all the same."""
        self.look()
        self.device("1000", "INUSE")
        self.journal.append([self.talk()])
        (change,) = self.operators.seen("1000", "NOT_INUSE", 5)
        self.journal.failure = JournalFull("no room")
        self.journal.listeners[0]([Event(9, OperatorFact(change))])
        self.assertIs(self.status(), Status.PAUSED)


class NoWrapUp(PausesCase):
    """Without the key."""

    wrap_up = 0

    def test_none(self) -> None:
        """A talk leaves nothing behind; one that was left by another configuration ends at once."""
        self.look()
        self.device("1000", "INUSE")
        self.journal.append([self.talk()])
        self.device("1000", "NOT_INUSE")
        self.assertIs(self.status(), Status.ONLINE)
        began = int(self.clock.seconds() * 1000)
        last = OperatorChange("1000", Status.PAUSED, "NOT_INUSE", 1, began, None, True, WRAP_UP)
        self.start({"1000": last})
        self.look()
        self.clock.advance(0)
        self.assertIs(self.status(), Status.ONLINE)
