"""Numbers for Prometheus: what happened counted as it is told, what is read when it is asked for.

A registry of our own, so that nothing else in the process speaks in it. Knows the facts of the
journal; what the parts show of themselves comes as functions (``ccdaemon.health.collectors``).
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ccdaemon.calls.causes import SILENT_WORDS
from ccdaemon.calls.model import CallView
from ccdaemon.clocks import WallClock
from ccdaemon.store.facts import Event, OperatorFact, RecordFact, StateFact

CONTENT_TYPE = CONTENT_TYPE_LATEST

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RINGING = (1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 300)
_TALKING = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)

Reads = Callable[[], Iterable[Metric]]


class Metrics:
    """All numbers of one daemon.

    :param reads: what gives the numbers that are read when they are asked for.
    """

    def __init__(self, clock: WallClock, reads: Sequence[Reads] = ()) -> None:
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        for read in reads:
            self.add(read)
        self._states = Counter(
            "ccdaemon_call_states", "States told", ["direction", "state"], registry=registry
        )
        self._calls = Counter(
            "ccdaemon_calls",
            "Calls that have ended, by their last state",
            ["direction", "outcome"],
            registry=registry,
        )
        self._durations = {
            name: Histogram(
                f"ccdaemon_call_{name}_seconds",
                about,
                ["direction"],
                buckets=buckets,
                registry=registry,
            )
            for name, about, buckets in (
                ("ring", "How long operators' phones rang", _RINGING),
                ("wait", "How long who was there first waited for the other", _RINGING),
                ("talk", "How long they talked", _TALKING),
            )
        }
        self._silent = Counter(
            "ccdaemon_talks_without_sound",
            "Talks in which not one packet of sound came from one party",
            ["direction", "party"],
            registry=registry,
        )
        self._told_after = Histogram(
            "ccdaemon_state_told_after_seconds",
            "From what happened, by the state's date, until it was told",
            buckets=_FAST,
            registry=registry,
        )
        self._changes = Counter(
            "ccdaemon_operator_changes", "Changes of operators told", ["state"], registry=registry
        )
        self._recordings = Counter(
            "ccdaemon_recordings", "Recordings that became complete", registry=registry
        )
        self._requests = Counter(
            "ccdaemon_http_requests",
            "Requests answered",
            ["method", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "ccdaemon_http_request_seconds",
            "From a request to the end of its answer, time that was waited for news included",
            ["method"],
            buckets=_FAST,
            registry=registry,
        )
        self._commit_seconds = Histogram(
            "ccdaemon_journal_commit_seconds",
            "From appending facts until they are committed",
            buckets=_FAST,
            registry=registry,
        )
        self._crm_seconds = Histogram(
            "ccdaemon_routing_crm_seconds",
            "From a question to the CRM until its answer, or until it was given up",
            buckets=_FAST,
            registry=registry,
        )

        self._agi_seconds = Histogram(
            "ccdaemon_fastagi_script_seconds",
            "From a question of the dialplan to its answer; it waits for 2.5 s",
            ["script"],
            buckets=_FAST,
            registry=registry,
        )
        self._webhook_seconds = Histogram(
            "ccdaemon_webhook_attempt_seconds",
            "From a POST to its answer, or until it was given up",
            ["webhook"],
            buckets=_FAST,
            registry=registry,
        )

    def add(self, read: Reads) -> None:
        """Show more numbers that are read when they are asked for."""
        self._registry.register(_Read(read))

    def render(self) -> bytes:
        """Spell all numbers."""
        return generate_latest(self._registry)

    def heard(self, events: Sequence[Event]) -> None:
        """Count what the journal has just told."""
        for fact in (event.fact for event in events):
            if isinstance(fact, StateFact):
                self._count(fact)
            elif isinstance(fact, OperatorFact):
                self._changes.labels(fact.change.state.value).inc()
            elif isinstance(fact, RecordFact):
                self._recordings.inc()

    def _count(self, fact: StateFact) -> None:
        direction = fact.call.direction.value
        self._states.labels(direction, fact.state.state.value).inc()
        self._told_after.observe(max(self._clock.seconds() - fact.state.date / 1000, 0.0))
        for party, words in SILENT_WORDS.items():
            if words in (fact.state.detail or ""):
                self._silent.labels(direction, party).inc()
        if fact.state.final:
            self._calls.labels(direction, fact.state.state.value).inc()
            self._measure(direction, fact.call)

    def _measure(self, direction: str, call: CallView) -> None:
        for name, seconds in (
            ("ring", call.ring_seconds),
            ("wait", call.wait_seconds),
            ("talk", call.talk_seconds),
        ):
            if seconds is not None:
                self._durations[name].labels(direction).observe(seconds)

    def committed(self, seconds: float) -> None:
        """Count an append that is committed."""
        self._commit_seconds.observe(max(seconds, 0.0))

    def crm_asked(self, seconds: float) -> None:
        """Count a question to the CRM that is over."""
        self._crm_seconds.observe(max(seconds, 0.0))

    def script_over(self, path: str, seconds: float) -> None:
        """Count a question of the dialplan that is answered.

        :param path: of the script; one of those that there are.
        """
        self._agi_seconds.labels(path).observe(max(seconds, 0.0))

    def posted(self, webhook: str, seconds: float) -> None:
        """Count an attempt to tell a webhook's receiver."""
        self._webhook_seconds.labels(webhook).observe(max(seconds, 0.0))

    def answered(self, method: str, status: int, seconds: float | None) -> None:
        """Count a request.

        :param method: the method of the API, or what else was asked for; one of few words.
        :param seconds: None for a stream, which lasts as long as its reader wants.
        """
        self._requests.labels(method, str(status)).inc()
        if seconds is not None:
            self._request_seconds.labels(method).observe(max(seconds, 0.0))


class _Read(Collector):
    """A function as the registry takes it."""

    def __init__(self, read: Reads) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Read now."""
        return self._read()

    def describe(self) -> Iterable[Metric]:
        """Say nothing before: the names are known when it is read."""
        return ()
