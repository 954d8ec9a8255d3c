"""Members of queues: who they are, what to ask of Asterisk, and what was changed there."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config.validators import Pattern
from ccdaemon.pbx.endpoints import Endpoints
from ccdaemon.queues import BUSY, FREE, MOST_REASON, Member, Pause, Queues, Spelling

PATTERN = Pattern("[0-9]{4}")
SPELLING = Spelling(Endpoints(("PJSIP/{sip}",), PATTERN).sip, PATTERN.matches)
LUNCH, BUSY_HERE = Pause(True, "lunch"), Pause(True, BUSY)


def member(
    pause: Pause = FREE, queue: str = "sales", interface: str = "PJSIP/1000", state: str = ""
) -> Member:
    """A member of a queue."""
    return Member(queue, interface, state or interface, pause)


class SpellingTests(SynchronousTestCase):
    """Which operator a member is."""

    def test_all_spellings(self) -> None:
        """Phones, extensions by Local, agents; the device is right."""
        for interface, state, sip in (
            ("PJSIP/1000", "PJSIP/1000", "1000"),
            ("Local/1000@from-queue/n", "Local/1000@from-queue/n", "1000"),
            ("Local/1000@from-queue/n", "hint:1000@ext-local", "1000"),
            ("Local/1000@agents", "PJSIP/1000", "1000"),
            ("Local/91000@out/n", "PJSIP/1000", "1000"),
            ("Local/1001@agents/n", "PJSIP/1000", "1000"),
            ("Local/1001@agents/n", "hint:1000@ext-local", "1000"),
            ("Agent/1000", "Agent/1000", "1000"),
            ("Local/380671112233@out/n", "Local/380671112233@out/n", None),
            ("PJSIP/trunk", "PJSIP/trunk", None),
            ("SIP/1000", "SIP/1000", None),
            ("Agent/boss", "Agent/boss", None),
            ("", "", None),
        ):
            self.assertEqual(SPELLING.sip(interface, state), sip, (interface, state))


class QueuesTests(SynchronousTestCase):
    """What differs between the two sides."""

    def setUp(self) -> None:
        """Nobody is known."""
        self.queues = Queues(SPELLING)
        self.wanted: dict[str, Pause] = {}

    def want(self, sip: str) -> Pause:
        """What is wanted of an operator."""
        return self.wanted.get(sip, FREE)

    def look(
        self, *found: Member, in_motion: Collection[str] = (), first: bool = False
    ) -> dict[str, Pause]:
        """Look at Asterisk."""
        return self.queues.looked(found, self.want, in_motion, first=first)

    def ask(self) -> list[Member]:
        """Ask for what differs; Asterisk does it."""
        asked = self.queues.to_ask("1000", self.want("1000"))
        for one in asked:
            self.queues.set(one, self.want("1000"))
        return asked

    def test_every_queue(self) -> None:
        """A pause reaches each member of the operator, and its end each that it has reached."""
        ours = [member(), member(queue="support", interface="Local/1000@from-queue/n")]
        self.look(*ours, member(interface="PJSIP/1001"), first=True)
        self.wanted["1000"] = LUNCH
        self.assertEqual(self.ask(), ours)
        self.assertEqual(self.ask(), [])
        del self.wanted["1000"]
        self.assertEqual([one.key for one in self.ask()], [one.key for one in ours])
        self.assertEqual(self.ask(), [])

    def test_asterisk_was_started_anew(self) -> None:
        """It knows of no pause, and gets it again; nobody is resumed by that."""
        self.look(member(), first=True)
        self.wanted["1000"] = LUNCH
        self.ask()
        self.queues.forget()
        self.assertEqual(self.look(member(), first=True), {})
        self.assertEqual(self.ask(), [member()])

    def test_resumed_without_a_session(self) -> None:
        """What was ours is ended once there is one, and is no pause of somebody else's."""
        self.look(member(), first=True)
        self.wanted["1000"] = LUNCH
        self.ask()
        self.queues.forget()
        del self.wanted["1000"]
        self.assertEqual(self.look(member(LUNCH), first=True), {})
        self.assertEqual(len(self.ask()), 1)

    def test_the_daemon_was_started_anew(self) -> None:
        """A call's pause that was left behind is ended, another one is somebody's."""
        self.assertEqual(self.look(member(BUSY_HERE), first=True), {})
        self.assertEqual(len(self.ask()), 1)
        self.assertEqual(self.look(member(LUNCH)), {"1000": LUNCH})

    def test_paused_in_asterisk(self) -> None:
        """Who is so in every queue; after that it is ours to end."""
        sales, support = member(LUNCH), member(queue="support")
        self.look(member(), support, first=True)
        self.assertEqual(self.look(sales, support), {})
        self.assertEqual(self.ask(), [])
        self.assertEqual(self.look(sales, member(LUNCH, "support")), {"1000": LUNCH})
        self.wanted["1000"] = LUNCH
        self.assertEqual(self.look(sales, member(LUNCH, "support")), {})
        del self.wanted["1000"]
        self.assertEqual(len(self.ask()), 2)

    def test_resumed_in_asterisk(self) -> None:
        """In one queue is enough: whoever takes calls there is not paused; the others follow."""
        both = [member(), member(queue="support")]
        self.look(*both, first=True)
        self.wanted["1000"] = LUNCH
        self.ask()
        self.assertEqual(self.look(member(), member(LUNCH, "support")), {"1000": FREE})
        del self.wanted["1000"]
        self.assertEqual([one.queue for one in self.ask()], ["support"])

    def test_a_new_member(self) -> None:
        """Who joins a queue while they are paused is paused there, too."""
        self.wanted["1000"] = LUNCH
        self.look(member(LUNCH), first=True)
        self.assertEqual(self.look(member(LUNCH), member(queue="support")), {})
        self.assertEqual([one.queue for one in self.ask()], ["support"])

    def test_a_call(self) -> None:
        """Its pause gives way to another reason; somebody else's in one queue outlasts it."""
        self.look(member(), member(LUNCH, "support"), first=True)
        self.wanted["1000"] = BUSY_HERE
        self.assertEqual([one.queue for one in self.ask()], ["sales"])
        self.assertEqual(self.look(member(BUSY_HERE), member(LUNCH, "support")), {})
        self.wanted["1000"] = Pause(True, "wrap-up")
        self.assertEqual([one.queue for one in self.ask()], ["sales"])
        del self.wanted["1000"]
        self.assertEqual([one.queue for one in self.ask()], ["sales"])

    def test_while_something_is_asked(self) -> None:
        """A look that may be older than that changes nothing, but for who is there."""
        self.look(member(), member(queue="support"), first=True)
        self.wanted["1000"] = LUNCH
        self.ask()
        self.assertEqual(self.look(member(), in_motion={"1000"}), {})
        self.assertEqual(self.ask(), [])
        self.assertEqual(len(self.queues), 1)

    def test_news(self) -> None:
        """What says what was asked for is none, nor what is nobody's."""
        self.look(member(), first=True)
        self.assertFalse(self.queues.is_news(member(), self.want))
        self.assertTrue(self.queues.is_news(member(LUNCH), self.want))
        self.assertTrue(self.queues.is_news(member(queue="new"), self.want))
        self.assertFalse(self.queues.is_news(member(LUNCH, interface="PJSIP/trunk"), self.want))
        self.wanted["1000"] = BUSY_HERE
        self.assertTrue(self.queues.is_news(member(LUNCH), self.want))

    def test_what_a_reason_may_be(self) -> None:
        """A line that can be shown; nothing at all is none."""
        self.look(member(), first=True)
        for said, shown in (("a\x00b\x1b", "a b"), (" ", None), ("x" * 99, "x" * MOST_REASON)):
            queues = Queues(SPELLING)
            found = queues.looked([member(Pause(True, said))], self.want)
            self.assertEqual(found["1000"].reason, shown)

    @given(st.lists(st.sampled_from(["lunch", "busy", "free", "look", "restart"]), max_size=20))
    def test_whatever_is_done_here(self, acts: list[str]) -> None:
        """Asterisk follows, and nothing that was done here counts as done there."""
        queues, there, wanted = Queues(SPELLING), [member(), member(queue="support")], FREE
        first = True
        for act in acts:
            wanted = {"lunch": LUNCH, "busy": BUSY_HERE, "free": FREE}.get(act, wanted)
            if act == "restart":
                there, first = [member(), member(queue="support")], True
                queues.forget()
            news = queues.looked(there, lambda sip, now=wanted: now, first=first)  # type: ignore[misc]
            self.assertEqual(news, {}, acts)
            first = False
            for one in queues.to_ask("1000", wanted):
                queues.set(one, wanted)
                there = [
                    member(wanted, other.queue) if other.key == one.key else other
                    for other in there
                ]
            self.assertEqual({one.pause.paused for one in there}, {wanted.paused}, acts)
