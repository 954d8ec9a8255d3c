"""Tests of the numbers: what is told is counted once, under names that stay."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import Direction
from ccdaemon.health import collectors
from ccdaemon.health.health import Condition, Seen, Watch
from ccdaemon.health.metrics import Metrics
from ccdaemon.limits.counters import KINDS, Alarms
from ccdaemon.recordings.retention import LastTime, Removed
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.store.facts import Event, Fact
from tests.store.parts import NOON, chain, change, recording, view


class Numbers(SynchronousTestCase):
    """One daemon's numbers."""

    def setUp(self) -> None:
        """Begin to count, two seconds after the last state."""
        self.clock = Clock()
        self.clock.advance(NOON / 1000 + 7)
        self.metrics = Metrics(cast(Any, self.clock))

    def samples(self) -> dict[tuple[str, str], float]:
        """Every sample by its name and its labels' values, as Prometheus reads them."""
        text = self.metrics.render().decode()
        return {
            (sample.name, ",".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def hear(self, *facts: Fact) -> None:
        """Have facts told."""
        self.metrics.heard([Event(id_, fact) for id_, fact in enumerate(facts, 1)])

    def test_a_call(self) -> None:
        """Its states, its outcome, its durations, and how late it was told."""
        facts = chain(view(1))
        last = replace(
            facts[-1],
            call=replace(facts[-1].call, ring_seconds=3.0, wait_seconds=2.0, talk_seconds=40.0),
        )
        self.hear(*facts[:-1], last, recording(1), change("1000"))
        now = self.samples()
        self.assertEqual(now["ccdaemon_calls_total", "outbound,FINISH"], 1)
        self.assertEqual(now["ccdaemon_call_states_total", "outbound,CLIENT_PICKUP"], 1)
        self.assertEqual(now["ccdaemon_call_talk_seconds_sum", "outbound"], 40)
        self.assertEqual(now["ccdaemon_call_ring_seconds_count", "outbound"], 1)
        self.assertEqual(now["ccdaemon_call_wait_seconds_sum", "outbound"], 2)
        self.assertEqual(now["ccdaemon_state_told_after_seconds_count", ""], 6)
        self.assertEqual(now["ccdaemon_state_told_after_seconds_sum", ""], 7 + 6 + 5 + 4 + 3 + 2)
        self.assertEqual(now["ccdaemon_recordings_total", ""], 1)
        self.assertEqual(now["ccdaemon_operator_changes_total", "online"], 1)

    def test_a_call_that_nobody_took(self) -> None:
        """What it has no length for is not measured."""
        self.hear(*chain(view(1, direction=Direction.INBOUND)))
        now = self.samples()
        self.assertEqual(now["ccdaemon_calls_total", "inbound,FINISH"], 1)
        self.assertNotIn(("ccdaemon_call_talk_seconds_count", "inbound"), now)

    def test_a_party_that_was_not_heard(self) -> None:
        """Is counted by who it was."""
        *_, last = chain(view(1))
        told = replace(last.state, detail="hung up by client; no sound from the client")
        self.hear(replace(last, state=told))
        name = "ccdaemon_talks_without_sound_total"
        self.assertEqual(self.samples()[name, "outbound,client"], 1)

    def test_requests(self) -> None:
        """By method and status; a stream has no duration; what else takes time beside them."""
        self.metrics.answered("sipList", 200, 0.003)
        self.metrics.answered("sipList", 400, 0.001)
        self.metrics.answered("events", 200, None)
        self.metrics.committed(0.02)
        self.metrics.crm_asked(0.3)
        self.metrics.script_over("incoming", 0.02)
        self.metrics.posted("crm", 0.2)
        now = self.samples()
        self.assertEqual(now["ccdaemon_http_requests_total", "sipList,400"], 1)
        self.assertEqual(now["ccdaemon_http_request_seconds_count", "sipList"], 2)
        self.assertEqual(now["ccdaemon_http_requests_total", "events,200"], 1)
        self.assertNotIn(("ccdaemon_http_request_seconds_count", "events"), now)
        self.assertEqual(now["ccdaemon_journal_commit_seconds_bucket", "0.025"], 1)
        self.assertEqual(now["ccdaemon_routing_crm_seconds_bucket", "0.25"], 0)
        self.assertEqual(now["ccdaemon_routing_crm_seconds_bucket", "0.5"], 1)
        self.assertEqual(now["ccdaemon_fastagi_script_seconds_count", "incoming"], 1)
        self.assertEqual(now["ccdaemon_webhook_attempt_seconds_count", "crm"], 1)

    def test_what_is_read(self) -> None:
        """Health and routing are read when they are asked for."""
        seen = Seen(Condition.DEGRADED, "far behind", 7, 31.0)
        watch = Watch(
            {"postgres": lambda: seen}, frozenset(), cast(Any, self.clock), cast(Any, self.clock)
        )
        routed = RoutingCounters()
        routed.routes["crm", "dial"] += 2
        routed.crm["late"] += 1
        live = SimpleNamespace(asked=list, unrecorded=2, given_up=SimpleNamespace(count=4))
        calls = collectors.of_calls(cast(Any, live), cast(Any, SimpleNamespace(closed=1)))
        reads = (collectors.of_health(watch), collectors.of_routing(routed), calls)
        self.metrics = Metrics(cast(Any, self.clock), reads)
        now = self.samples()
        self.assertEqual(now["ccdaemon_part_condition", "degraded,postgres"], 1)
        self.assertEqual(now["ccdaemon_part_condition", "ok,postgres"], 0)
        self.assertEqual(now["ccdaemon_part_backlog", "postgres"], 7)
        self.assertEqual(now["ccdaemon_part_behind_seconds", "postgres"], 31)
        self.assertEqual(now["ccdaemon_ready", ""], 1)
        self.assertEqual(now["ccdaemon_routing_routes_total", "dial,crm"], 2)
        self.assertEqual(now["ccdaemon_calls_untold_total", ""], 2)
        self.assertEqual(now["ccdaemon_calls_given_up_total", ""], 4)
        self.assertEqual(now["ccdaemon_calls_closed_by_watchdog_total", ""], 1)
        routed.crm["late"] += 1
        self.assertEqual(self.samples()["ccdaemon_routing_crm_total", "late"], 2)

    def test_what_is_not_kept(self) -> None:
        """How much was removed, when last, and whether something was left; 0 before that."""
        retention = SimpleNamespace(removed=Removed(calls=3, unnamed_files=1), last=None)
        self.metrics = Metrics(
            cast(Any, self.clock), (collectors.of_retention(cast(Any, retention)),)
        )
        now = self.samples()
        self.assertEqual(now["ccdaemon_retention_removed_total", "calls"], 3)
        self.assertEqual(now["ccdaemon_retention_removed_total", "recordings"], 0)
        self.assertEqual(now["ccdaemon_retention_removed_total", "unnamed_files"], 1)
        self.assertEqual(now["ccdaemon_retention_removed_total", "operator_changes"], 0)
        last, failed = "ccdaemon_retention_last_run_seconds", "ccdaemon_retention_failed"
        self.assertEqual((now[last, ""], now[failed, ""]), (0, 0))
        for trouble in ("away", None):
            retention.last = LastTime(NOON, trouble)
            now = self.samples()
            self.assertEqual((now[last, ""], now[failed, ""]), (NOON / 1000, trouble == "away"))

    def test_two_daemons_in_one_process(self) -> None:
        """Each has a registry of its own."""
        Metrics(cast(Any, self.clock)).heard([Event(1, change("1000"))])
        self.assertNotIn(("ccdaemon_operator_changes_total", "online"), self.samples())

    def test_what_the_limits_refuse(self) -> None:
        """Every kind is there from the start, so that the first refusal is an increase."""
        alarms = Alarms()
        self.metrics = Metrics(cast(Any, self.clock), (collectors.of_limits(alarms),))
        for kind in KINDS:
            self.assertEqual(self.samples()["ccdaemon_limits_refused_total", kind], 0)
        for _ in range(2):
            alarms.refuse("operator", "1000", "words", NOON / 1000)
        samples = self.samples()
        self.assertEqual(samples["ccdaemon_limits_refused_total", "operator"], 2)
        self.assertEqual(samples["ccdaemon_limits_alarms_total", "operator"], 1)
        self.assertEqual(samples["ccdaemon_limits_alarms_total", "prefix"], 0)
