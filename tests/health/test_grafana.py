"""The dashboard and the alarms ask for nothing that ``/metrics`` does not show."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.ami.ami_settings import AMICounters
from ccdaemon.calls.model import Direction, State
from ccdaemon.consumers.consumer import ConsumerHealth
from ccdaemon.fastagi.agi_server import AGICounters
from ccdaemon.health.collectors import of_connections, of_streams
from ccdaemon.health.metrics import Metrics
from ccdaemon.health.wiring import Observed, Observing
from ccdaemon.limits.counters import Alarms
from ccdaemon.operators import Status
from ccdaemon.recordings.retention import Removed
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.store.facts import Event
from tests.health.promql import Asked, NotUnderstoodError, read
from tests.store.parts import NOON, chain, change, recording, view

GRAFANA = Path(ccdaemon.__file__).parent / "conf" / "grafana"
#: Labels that Prometheus gives to whatever it has read.
TARGET = frozenset(("job", "instance"))
#: What Prometheus itself shows, with its labels.
PROMETHEUS = {
    "up": {"job": {"ccdaemon"}},
    "ALERTS": {
        "alertname": set[str](),
        "alertstate": {"firing", "pending"},
        "component": {"ccdaemon"},
        "severity": {"critical", "warning"},
    },
}
#: Metrics by the names of their samples; each label with the values that it has.
Shown = dict[str, dict[str, set[str]]]


def parts() -> Observed:
    """What the daemon shows after a day on which everything happened once."""
    consumers = [
        ConsumerHealth(n, 7, 1, 0.5, 0, None, None, None) for n in ("postgres", "webhooks")
    ]
    counts = SimpleNamespace(delivered=1, errors=1, given_up=1)
    webhook = {"name": "crm", "backlog": 1, "oldest": None, "stopped_since": None}
    webhook |= {"failing_since": None, "counts": counts}
    routed = RoutingCounters()
    routed.routes["queue", "queue"] = routed.crm["answered"] = routed.crm["late"] = 1
    routed.faults["sip"] = routed.sticky["found"] = 1
    journal = {"waiting": 0, "numbers_left": 9000, "set_aside": None, "broken": None}
    live = [SimpleNamespace(direction=Direction.OUTBOUND, phase="talking")]
    shown: dict[str, Any] = {
        "ami": SimpleNamespace(session=object(), counters=AMICounters()),
        "in_doubt": lambda: False,
        "channel_log": SimpleNamespace(refused=0),
        "agi": SimpleNamespace(
            sessions=[], settings=SimpleNamespace(most_sessions=9), counters=AGICounters()
        ),
        "journal": SimpleNamespace(
            not_ready=None,
            health=SimpleNamespace(**journal, refused=0, head=7),
            subscribe=lambda _: None,
        ),
        "database": SimpleNamespace(up=True),
        "shipper": SimpleNamespace(health=consumers[0]),
        "live": _Live(live),
        "presence": SimpleNamespace(
            operators=lambda: [SimpleNamespace(status=each, stale=False) for each in Status]
        ),
        "recordings": SimpleNamespace(expected=0, late=0, given_up=0),
        "webhooks": SimpleNamespace(
            health=[SimpleNamespace(**webhook)],
            reading=consumers[1],
            consumers=consumers[1:],
            broken=None,
            observe=lambda _: None,
        ),
        "routing": routed,
        "alarms": Alarms(),
        "overdue": SimpleNamespace(closed=0),
        "retention": SimpleNamespace(removed=Removed(), last=None),
    }
    return Observed(**shown)


class _Live(list[Any]):
    """Live calls."""

    unrecorded = 0
    given_up = SimpleNamespace(count=0, last=None)

    def asked(self) -> list[Any]:
        """All of them."""
        return self


def happen(metrics: Metrics) -> None:
    """Have all happen that is counted as it is told."""
    first, *_, last = chain(view(1))
    durations = {"ring_seconds": 3.0, "wait_seconds": 2.0, "talk_seconds": 4.0}
    facts: list[Any] = [first, recording(1), change("1000")]
    for state in State:
        told = replace(last.state, state=state, detail="no sound from the client")
        facts.append(replace(last, state=told, call=replace(last.call, **cast(Any, durations))))
    metrics.heard([Event(id_, fact) for id_, fact in enumerate(facts, 1)])
    for status in (200, 401, 429):
        metrics.answered("makeCall", status, 0.1)
    metrics.committed(0.1)
    metrics.crm_asked(0.1)
    metrics.script_over("incoming", 0.1)
    metrics.posted("crm", 0.1)


def rules(text: str) -> list[dict[str, str]]:
    """The alarms of a file as ours are written: each key in a line, long values below it."""
    found: list[dict[str, str]] = []
    key = ""
    for line in text.partition("    rules:\n")[2].splitlines():
        started = re.fullmatch(r"(?:      - |        )([a-z]+):(?: (.+))?", line)
        if started:
            key, value = started[1], started[2] or ""
            if line.startswith("      - "):
                found.append({})
            found[-1][key] = "" if value == ">" else value
        elif line.startswith(" " * 10):
            found[-1][key] = f"{found[-1][key]} {line.strip()}".strip()
        else:
            raise AssertionError(f"not read: {line!r}")
    return found


class Expressions(SynchronousTestCase):
    """Every expression against what the daemon shows."""

    def setUp(self) -> None:
        """Have a daemon's numbers, and read the files."""
        clock = cast(Any, Clock())
        clock.advance(NOON / 1000 + 7)
        record = SimpleNamespace(record=True, recordings_mount=Path("recordings"))
        config = SimpleNamespace(state_dir=Path("state"), asterisk=record, writes_recordings=())
        observing = Observing(
            cast(Any, config), parts(), clock, clock, cast(Any, lambda *_: succeed(None))
        )
        observing.metrics.add(of_streams(_Open()))
        observing.metrics.add(of_connections(_Open()))
        happen(observing.metrics)
        self.shown: Shown = defaultdict(lambda: defaultdict(set))
        for family in text_string_to_metric_families(observing.metrics.render().decode()):
            for sample in family.samples:
                labels = self.shown[sample.name]
                for label, value in sample.labels.items():
                    labels[label].add(value)
        self.shown = dict(self.shown) | PROMETHEUS
        self.board = json.loads((GRAFANA / "ccdaemon.json").read_text())
        self.rules = rules((GRAFANA / "alerts.yml").read_text())

    def panels(self) -> list[dict[str, Any]]:
        """Those that show something."""
        return [panel for panel in self.board["panels"] if panel["type"] != "row"]

    def expressions(self) -> Iterator[tuple[str, str, str]]:
        """Where an expression stands, the expression, and the words that may name its labels."""
        for panel in self.panels():
            for target in panel["targets"]:
                yield panel["title"], target["expr"], target["legendFormat"]
        for noted in self.board["annotations"]["list"]:
            if "expr" in noted:
                yield noted["name"], noted["expr"], noted["titleFormat"]
        for rule in self.rules:
            yield rule["alert"], rule["expr"], ""

    def wrong(self, expression: str, legend: str = "") -> list[str]:
        """What an expression asks for that is not there."""
        asked = read(expression)
        found = [f"no metric {one.name}" for one in asked.selectors if one.name not in self.shown]
        if found:
            return found
        there = {label for one in asked.selectors for label in self.shown[one.name]} | TARGET
        for one in asked.selectors:
            for label, operator, value in one.matchers:
                found += self._unmatched(one.name, label, operator, value)
        named = asked.grouped_by | set(re.findall(r"{{(.*?)}}", legend))
        found += [f"no label {label}" for label in sorted(named - there)]
        return found + _odd(asked)

    def _unmatched(self, name: str, label: str, operator: str, value: str) -> list[str]:
        labels = self.shown[name]
        if value in ("$job", "$instance"):
            return [] if (label, operator) == (value[1:], "=~") else [f"{label}{operator}{value}"]
        if label not in labels:
            return [f"no label {label} of {name}"]
        wanted = value.split("|") if "~" in operator else [value]
        return [f"no {label} {each} of {name}" for each in wanted if each not in labels[label]]

    def test_all_are_there(self) -> None:
        """Metrics, labels and their values, in the dashboard and in the alarms."""
        count = 0
        for where, expression, legend in self.expressions():
            self.assertEqual(self.wrong(expression, legend), [], f"{where}: {expression}")
            count += 1
        self.assertGreater(count, 80)

    def test_what_is_not_there_is_found(self) -> None:
        """A metric, a part of one, a label or a value that nobody shows; words nobody knows."""
        for expression, words in (
            ("ccdaemon_nothing", "no metric ccdaemon_nothing"),
            ("ccdaemon_calls", "no metric ccdaemon_calls"),
            ("rate(ccdaemon_ready_bucket[5m])", "no metric ccdaemon_ready_bucket"),
            ('ccdaemon_ready{part="x"}', "no label part of ccdaemon_ready"),
            ('ccdaemon_calls_total{outcome=~"ERROR|LOST"}', "no outcome LOST"),
            ("sum by (caller) (rate(ccdaemon_calls_total[5m]))", "no label caller"),
            ("rate(ccdaemon_live_calls[5m])", "rate of ccdaemon_live_calls"),
            ("ccdaemon_calls_total > 1", "ccdaemon_calls_total as it is"),
        ):
            self.assertIn(words, ", ".join(self.wrong(expression)), expression)
        self.assertEqual(self.wrong("ccdaemon_ready", "{{party}}"), ["no label party"])
        for unknown in ("made_up(ccdaemon_ready)", "ccdaemon_ready & 1", 'x{y="}'):
            self.assertRaises(NotUnderstoodError, read, unknown)

    def test_every_number_of_the_daemon_is_on_the_dashboard(self) -> None:
        """But for those that only say what others say, too."""
        names = {
            re.sub(r"_(bucket|sum|count|total)$", "", one.name)
            for _, expression, _ in self.expressions()
            for one in read(expression).selectors
        }
        shown = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in self.shown}
        left = {name for name in shown - names if name.startswith("ccdaemon_")}
        said = {"build_info", "part_since_seconds", "part_backlog", "postgres_backlog"}
        said |= {"streams_opened", "consumer_checkpoint"}
        self.assertEqual(left, {f"ccdaemon_{name}" for name in said})

    def test_the_dashboard_can_be_imported(self) -> None:
        """All of it is read from the chosen Prometheus, of the chosen daemons; nothing overlaps."""
        variables = {one["name"]: one for one in self.board["templating"]["list"]}
        self.assertEqual(variables["datasource"]["query"], "prometheus")
        self.assertIsNone(self.board["id"])
        self.assertGreaterEqual(self.board["schemaVersion"], 41)
        ids = [panel["id"] for panel in self.board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken: set[tuple[int, int]] = set()
        for panel in self.board["panels"]:
            at = panel["gridPos"]
            columns, lines = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
            cells = {(column, line) for column in columns for line in lines}
            self.assertFalse(cells & taken or max(columns) > 23, panel["title"])
            taken |= cells
        for panel in self.panels():
            for each in (panel, *panel["targets"]):
                source = {"type": "prometheus", "uid": "${datasource}"}
                self.assertEqual(each["datasource"], source, panel["title"])
            for target in panel["targets"]:
                for one in read(target["expr"]).selectors:
                    chosen = ("instance", "=~", "$instance") in one.matchers
                    self.assertTrue(chosen or one.name == "ALERTS", target["expr"])

    def test_the_alarms(self) -> None:
        """Each has a name of its own, says how urgent it is, and in words what is wrong."""
        names = [rule["alert"] for rule in self.rules]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn("CallsCannotBeMade", names)
        for rule in self.rules:
            labels = r"\{severity: (critical|warning), component: ccdaemon\}"
            self.assertRegex(rule["labels"], f"^{labels}$", rule["alert"])
            self.assertRegex(rule["annotations"], r"^summary: [A-Z].*\.$", rule["alert"])
            self.assertRegex(rule.get("for", "1m"), r"^\d+[mh]$", rule["alert"])


class _Open:
    """Streams, or connections: one of them open."""

    opened = dropped = made_room = refused = 0

    def __len__(self) -> int:
        return 1


def _odd(asked: Asked) -> list[str]:
    """What Prometheus computes without a word, and wrongly."""
    found = []
    for one in asked.selectors:
        grows = one.name.endswith(("_total", "_bucket", "_sum", "_count"))
        if grows and one.range is None:
            found.append(f"{one.name} as it is")
        if one.range and not grows and asked.functions & {"rate", "increase"}:
            found.append(f"rate of {one.name}")
    if "histogram_quantile" in asked.functions and "le" not in asked.grouped_by:
        found.append("a quantile without its buckets")
    return found
