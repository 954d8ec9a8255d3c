"""What each part shows of itself, as numbers for Prometheus, read when they are asked for.

One function for each part; names and words stand in tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ccdaemon import __version__
from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.consumers.consumer import ConsumerHealth
from ccdaemon.consumers.shipper import Shipper
from ccdaemon.consumers.webhooks.webhooks import Webhooks
from ccdaemon.fastagi.agi_server import FastAGIFactory
from ccdaemon.health.health import Condition, Watch
from ccdaemon.limits.counters import KINDS, Alarms
from ccdaemon.operators import Status
from ccdaemon.recordings.recordings import Recordings
from ccdaemon.recordings.retention import Retention
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.store.journal import Journal
from ccdaemon.tracking.call_watchdog import CallWatchdog
from ccdaemon.tracking.calls import LiveCalls
from ccdaemon.tracking.cel_reader import CelReader
from ccdaemon.tracking.presence import Presence

Read = Callable[[], Iterable[Metric]]
#: The values of a number's labels.
Words = TypeVar("Words", bound=tuple[str, ...])

_AMI = {
    "events": "Events read",
    "unwanted": "Events that nobody here wants",
    "responses": "Responses to actions",
    "unmatched": "Responses that came too late or to nothing we asked",
    "refused_actions": "Actions that Asterisk refused",
    "timeouts": "Actions that were never answered",
    "garbage": "Messages that could not be read",
    "forged": "Events into which a phone had written, dropped",
    "sessions": "Sessions begun",
    "reconnects": "Sessions begun after another one was lost",
    "failed_connects": "Tries for a session that failed",
    "refused_logins": "Logins refused",
    "subscriber_errors": "Events over which the daemon stumbled",
}
_AGI = {
    "sessions": "Calls that asked who takes them",
    "strangers": "Connections refused by their address, or for the secret they do not know",
    "too_many": "Calls let go to the fallback because too many waited",
    "unknown_scripts": "Calls that asked for a script that is not there",
    "script_errors": "Scripts that failed",
    "timeouts": "Asterisk did not answer a command, or a script took too long",
    "garbage": "Sessions that could not be read",
}


def counter(name: str, about: str, value: float) -> Metric:
    """A counter without labels."""
    return CounterMetricFamily(f"ccdaemon_{name}", about, value=value)


def gauge(name: str, about: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(f"ccdaemon_{name}", about, value=value)


def counters(name: str, about: str, labels: list[str], values: Mapping[Words, float]) -> Metric:
    """A counter with labels."""
    made = CounterMetricFamily(f"ccdaemon_{name}", about, labels=labels)
    for words, value in values.items():
        made.add_metric(list(words), value)
    return made


def gauges(name: str, about: str, labels: list[str], values: Mapping[Words, float]) -> Metric:
    """A gauge with labels."""
    made = GaugeMetricFamily(f"ccdaemon_{name}", about, labels=labels)
    for words, value in values.items():
        made.add_metric(list(words), value)
    return made


def of_health(watch: Watch) -> Read:
    """The daemon's condition, and each part's."""

    def read() -> Iterable[Metric]:
        now = watch.look()
        yield gauges("build_info", "The daemon's version", ["version"], {(__version__,): 1})
        yield gauge("ready", "1: calls can be made and taken", now.ready)
        conditions = {
            (part.name, each.value): float(part.seen.condition is each)
            for part in now.parts
            for each in Condition
        }
        yield gauges("part_condition", "1: so is the part", ["part", "condition"], conditions)
        since = {(part.name,): part.since / 1000 for part in now.parts}
        yield gauges("part_since_seconds", "Since when it is so (Unix time)", ["part"], since)
        backlog = {(p.name,): float(p.seen.backlog or 0) for p in now.parts}
        yield gauges("part_backlog", "What waits for the part, or in it", ["part"], backlog)
        behind = {(p.name,): p.seen.behind or 0.0 for p in now.parts}
        about = "For how long the oldest of it has waited"
        yield gauges("part_behind_seconds", about, ["part"], behind)

    return read


def of_calls(live: LiveCalls, overdue: CallWatchdog) -> Read:
    """Calls as they are now."""

    def read() -> Iterable[Metric]:
        now = Counter((call.direction.value, call.phase) for call in live.asked())
        yield gauges("live_calls", "Calls that are not over", ["direction", "phase"], now)
        yield counter("calls_untold", "Calls that could not be told", live.unrecorded)
        about = "Calls that could not be followed to their end"
        yield counter("calls_given_up", about, live.given_up.count)
        about = "Calls that stayed as they were for too long"
        yield counter("calls_closed_by_watchdog", about, overdue.closed)

    return read


def of_operators(presence: Presence, recordings: Recordings) -> Read:
    """Operators as they are now, and what is not complete yet."""

    def read() -> Iterable[Metric]:
        shown = dict.fromkeys(((each.value,) for each in Status if each is not Status.UNKNOWN), 0)
        shown |= Counter((view.status.value,) for view in presence.operators())
        yield gauges("operators", "Operators by status", ["status"], shown)
        stale = sum(view.stale for view in presence.operators())
        yield gauge("operators_stale", "Operators whose status may be an old one", stale)
        about = "Recordings that are not complete yet"
        yield gauge("recordings_expected", about, recordings.expected)
        about = "Those of them that take longer than they should"
        yield gauge("recordings_late", about, recordings.late)
        about = "Recordings that never were complete"
        yield counter("recordings_given_up", about, recordings.given_up)

    return read


def of_asterisk(ami: AMIClient, agi: FastAGIFactory, channel_log: CelReader) -> Read:
    """The session, and who asks for a decision."""

    def read() -> Iterable[Metric]:
        yield gauge("ami_up", "1: there is a session with Asterisk", ami.session is not None)
        for name, about in _AMI.items():
            yield counter(f"ami_{name}", about, getattr(ami.counters, name))
        about = "Lines of the channel log that were no rows of ours"
        yield counter("cel_refused", about, channel_log.refused)
        yield gauge("fastagi_waiting", "Calls that wait for a decision", len(agi.sessions))
        for name, about in _AGI.items():
            yield counter(f"fastagi_{name}", about, getattr(agi.counters, name))

    return read


def of_history(journal: Journal, shipper: Shipper) -> Read:
    """The journal, and how far Postgres is behind it."""

    def read() -> Iterable[Metric]:
        health, shipped = journal.health, shipper.health
        yield gauge("journal_writable", "1: the journal can be written", health.broken is None)
        yield gauge("journal_waiting", "Facts that are not committed yet", health.waiting)
        yield counter("journal_refused", "Appends that failed", health.refused)
        yield gauge("journal_head", "The newest event", health.head)
        yield gauge("journal_numbers_left", "Call numbers left", health.numbers_left)
        yield gauge("postgres_backlog", "Events that Postgres does not have yet", shipped.backlog)
        yield gauge("postgres_aside", "Facts that Postgres refused", shipped.dead_letters)

    return read


#: What each consumer of the log shows.
_CONSUMER = {
    "checkpoint": "The event up to which everything is taken",
    "backlog": "Events that are not taken yet",
    "behind": "For how many seconds the oldest of them has waited",
    "dead_letters": "Events that were passed over",
}


def of_consumers(consumers: Callable[[], Sequence[ConsumerHealth]]) -> Read:
    """How far each consumer of the log is."""

    def read() -> Iterable[Metric]:
        each = consumers()
        for what, about in _CONSUMER.items():
            values = {(one.name,): float(getattr(one, what)) for one in each}
            unit = "_seconds" if what == "behind" else ""
            yield gauges(f"consumer_{what}{unit}", about, ["consumer"], values)

    return read


def of_webhooks(webhooks: Webhooks) -> Read:
    """What goes to each webhook."""

    def read() -> Iterable[Metric]:
        each = {(one.name,): one for one in webhooks.health}
        one = ["webhook"]
        backlog = {name: float(health.backlog) for name, health in each.items()}
        reading = webhooks.reading
        about = "Events of the journal that webhooks have not taken yet"
        yield gauge("webhooks_unread", about, reading.backlog)
        about = "Events of the last day of which no message could be made"
        yield gauge("webhooks_dead_letters", about, reading.dead_letters)
        yield gauges("webhook_backlog", "Deliveries that wait", one, backlog)
        failing = {n: float(h.failing_since is not None) for n, h in each.items()}
        yield gauges("webhook_failing", "1: no attempt succeeds", one, failing)
        delivered = {n: float(h.counts.delivered) for n, h in each.items()}
        yield counters("webhook_delivered", "Deliveries that were taken", one, delivered)
        errors = {n: float(h.counts.errors) for n, h in each.items()}
        yield counters("webhook_errors", "Attempts that failed", one, errors)
        given_up = {n: float(h.counts.given_up) for n, h in each.items()}
        yield counters("webhook_given_up", "Deliveries that were given up", one, given_up)

    return read


def of_retention(retention: Retention) -> Read:
    """What was not to be kept any longer, and whether all of it is gone."""

    def read() -> Iterable[Metric]:
        removed = {(what,): float(count) for what, count in vars(retention.removed).items()}
        yield counters("retention_removed", "Removed since the start", ["what"], removed)
        last = retention.last
        about = "When what is due was last removed (Unix time); 0: not since the start"
        yield gauge("retention_last_run_seconds", about, last.ended / 1000 if last else 0.0)
        failed = last is not None and last.trouble is not None
        yield gauge("retention_failed", "1: that left something that is due", failed)

    return read


class Streams(Protocol):
    """The streams of events, as far as they are counted."""

    opened: int
    dropped: int

    def __len__(self) -> int:
        """How many are open."""
        ...


def of_streams(streams: Streams) -> Read:
    """Who follows what is told."""

    def read() -> Iterable[Metric]:
        yield gauge("streams_open", "Streams of events that are open", len(streams))
        yield counter("streams_opened", "Streams begun", streams.opened)
        about = "Streams cut off because nobody read them"
        yield counter("streams_dropped", about, streams.dropped)

    return read


class Connections(Protocol):
    """The connections to the API, as far as they are counted."""

    made_room: int
    refused: int

    def __len__(self) -> int:
        """How many are open."""
        ...


def of_connections(connections: Connections) -> Read:
    """Who is connected to the API."""

    def read() -> Iterable[Metric]:
        yield gauge("http_connections", "Connections to the API that are open", len(connections))
        about = "Idle connections that were closed for others"
        yield counter("http_connections_made_room", about, connections.made_room)
        about = "Connections refused, since all were at work"
        yield counter("http_connections_refused", about, connections.refused)

    return read


def of_routing(routed: RoutingCounters) -> Read:
    """How inbound calls were routed, and what the CRM said."""

    def read() -> Iterable[Metric]:
        labels = ["rule", "kind"]
        yield counters("routing_routes", "Decisions", labels, routed.routes)
        crm = {(word,): float(count) for word, count in routed.crm.items()}
        yield counters("routing_crm", "Questions to the CRM", ["outcome"], crm)
        faults = {(word,): float(count) for word, count in routed.faults.items()}
        yield counters("routing_crm_faults", "Values that were not allowed", ["key"], faults)
        sticky = {(word,): float(count) for word, count in routed.sticky.items()}
        yield counters("routing_sticky", "Looks for the last operator", ["outcome"], sticky)

    return read


def of_limits(alarms: Alarms) -> Read:
    """What was not dialled, and what looked like fraud."""

    def read() -> Iterable[Metric]:
        # Those that were never are shown, too: from nothing to one is no increase to Prometheus.
        refused = {(kind,): float(alarms.refused[kind]) for kind in KINDS}
        yield counters("limits_refused", "Calls that [limits] refused", ["kind"], refused)
        raised = {(kind,): float(alarms.raised[kind]) for kind in KINDS}
        yield counters("limits_alarms", "Alarms, each a line in the log", ["kind"], raised)

    return read
