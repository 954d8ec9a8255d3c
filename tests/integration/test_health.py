"""Live tests of what an administrator watches: health, readiness, numbers, signs of life."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.harness import LiveTestCase

_SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")


class HealthCase(LiveTestCase):
    """Reads what is shown."""

    async def parts(self) -> dict[str, dict[str, Any]]:
        """Each part's object by its name."""
        health = await self.ask("health")
        return {part["name"]: part for part in health["parts"]}

    async def status_of(self, name: str, status: str, timeout: float = 20) -> dict[str, Any]:
        """Wait until a part has a status."""

        async def look() -> dict[str, Any]:
            part = (await self.parts())[name]
            return part if part["status"] == status else {}

        return await self.wait_for(look, timeout, f"{name} {status}")

    async def ready(self) -> int:
        """The HTTP status of /readyz."""
        status, _, _ = await self.request("/readyz")
        return status

    async def numbers(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels."""
        status, headers, body = await self.request("/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain; version="))
        lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
        found = [_SAMPLE.fullmatch(line) for line in lines]
        self.assertNotIn(None, found)
        return {f"{one[1]}{{{one[2] or ''}}}": float(one[3]) for one in found if one}


class Well(HealthCase):
    """A daemon with all its parts."""

    tables = {"asterisk": {"operator_timeout": 5, "client_timeout": 3}}

    async def test_everything_is_ok(self) -> None:
        """All parts are there, ok, since the start."""
        health = await self.ask("health")
        self.assertEqual((health["status"], health["ready"]), ("ok", True), health)
        names = [part["name"] for part in health["parts"]]
        expected = ["asterisk", "journal", "fastagi", "calls", "postgres", "webhooks", "recordings"]
        self.assertEqual(names, expected)
        for part in health["parts"]:
            self.assertEqual(part["status"], "ok", part)
            self.assertGreaterEqual(part["since"], health["since"])
        self.assertEqual(await self.ready(), 200)
        answer = await self.api_xml("health")
        self.assertEqual(answer.findtext("response/parts/item/name"), "asterisk")

    async def test_numbers_of_calls(self) -> None:
        """A talk and a busy operator, counted and measured."""
        before = await self.numbers()
        talk = await self.make_call("1140", "380630000034")
        await self.finished(talk)
        busy = await self.make_call("1105", "380630000034")
        await self.finished(busy)
        await self.wait_for(lambda: self._grown(before, "ccdaemon_recordings_total{}"), 15, "wav")
        now = await self.numbers()

        def grown(name: str) -> float:
            return now.get(name, 0.0) - before.get(name, 0.0)

        outbound = 'direction="outbound"'
        self.assertEqual(grown(f'ccdaemon_calls_total{{{outbound},outcome="FINISH"}}'), 1)
        self.assertEqual(grown(f'ccdaemon_calls_total{{{outbound},outcome="OPERATOR_BUSY"}}'), 1)
        self.assertEqual(grown(f'ccdaemon_call_states_total{{{outbound},state="CALL"}}'), 2)
        self.assertEqual(grown(f"ccdaemon_call_talk_seconds_count{{{outbound}}}"), 1)
        self.assertTrue(0.5 < grown(f"ccdaemon_call_talk_seconds_sum{{{outbound}}}") < 4)
        self.assertEqual(grown("ccdaemon_state_told_after_seconds_count{}"), 9)
        self.assertLess(grown("ccdaemon_state_told_after_seconds_sum{}"), 9)
        self.assertEqual(grown('ccdaemon_http_requests_total{method="makeCall",status="200"}'), 2)
        self.assertGreater(grown("ccdaemon_journal_commit_seconds_count{}"), 5)
        self.assertGreater(grown("ccdaemon_ami_events_total{}"), 10)
        self.assertEqual(now["ccdaemon_ready{}"], 1)
        self.assertEqual(now["ccdaemon_ami_up{}"], 1)
        self.assertGreater(now['ccdaemon_operators{status="online"}'], 10)
        self.assertGreater(now["process_resident_memory_bytes{}"], 10 << 20)

    async def _grown(self, before: dict[str, float], name: str) -> bool:
        return (await self.numbers())[name] > before.get(name, 0.0)

    async def test_the_page_lists_every_number(self) -> None:
        """What docs/operations.md lists is shown, and no more; conf/grafana asks for that."""
        root = Path(__file__).parent.parent.parent
        page = (root / "docs" / "operations.md").read_text()
        table = page.partition("## Numbers")[2].partition("```yaml")[0]
        rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
        listed = {f"ccdaemon_{name}" for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
        files = [path.read_text() for path in (root / "conf" / "grafana").iterdir()]
        named = re.findall(r"ccdaemon_[a-z_]+", "".join(files))
        asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
        self.assertGreater(len(listed), 30)
        _, _, body = await self.request("/metrics")
        there = set(re.findall(r"^# TYPE (ccdaemon_[a-z_]+) ", body.decode(), re.MULTILINE))
        self.assertEqual((listed | asked) - there, set())
        # The client of Prometheus says besides when each that only grows began.
        began = {name for name in there if name.endswith("_created")}
        self.assertEqual(there - began, listed)

    async def test_a_live_call_is_shown(self) -> None:
        """While they talk there is one live call, talking; afterwards none."""
        call_id = await self.make_call("1141", "380630000003")
        talking = 'ccdaemon_live_calls{direction="outbound",phase="talking"}'

        async def shown() -> bool:
            return (await self.numbers()).get(talking) == 1

        await self.wait_for(shown, 10, "the talk among the live calls")
        await self.finished(call_id)
        self.assertNotIn(talking, await self.numbers())


class Unwell(HealthCase):
    """A daemon whose parts go away."""

    shared = False

    async def test_postgres_away(self) -> None:
        """Calls can still be made: degraded, ready, with how far Postgres is behind; then ok."""
        self.lab.postgres.stop(immediate=True)
        try:
            await self.status_of("postgres", "failing")
            call_id = await self.make_call("1140", "380630000005")
            await self.finished(call_id)
            part = (await self.parts())["postgres"]
            self.assertGreaterEqual(part["backlog"], 4)
            await self.sleep(1.1)
            self.assertGreater((await self.parts())["postgres"]["behind_seconds"], 1.0)
            health = await self.ask("health")
            self.assertEqual((health["status"], health["ready"]), ("degraded", True))
            self.assertEqual(await self.ready(), 200)
            numbers = await self.numbers()
            failing = 'ccdaemon_part_condition{condition="failing",part="postgres"}'
            self.assertEqual(numbers[failing], 1)
            self.assertGreaterEqual(numbers["ccdaemon_postgres_backlog{}"], 4)
        finally:
            self.lab.postgres.start()
        await self.status_of("postgres", "ok", 40)

        async def all_there() -> bool:
            return bool((await self.parts())["postgres"]["backlog"] == 0)

        await self.wait_for(all_there, 20, "everything in Postgres")

    async def test_asterisk_away(self) -> None:
        """No session: not ready, 503, with the reason and since when; makeCall agrees."""
        port = self.daemon.tables["asterisk"]["port"]
        wrong = socket.socket()
        wrong.bind(("127.0.0.1", 0))
        self.daemon.stop()
        self.daemon.configure(asterisk={"port": wrong.getsockname()[1]})
        self.daemon.start(wait=False)
        await self.wait_for(self._serves, 10, "an answer")
        part = await self.status_of("asterisk", "failing")
        self.assertIn("no session", part["detail"])
        health = await self.ask("health")
        self.assertEqual((health["status"], health["ready"]), ("failing", False))
        self.assertEqual(await self.ready(), 503)
        status, _, _ = await self.request("/healthz")
        self.assertEqual(status, 200)
        wrong.close()
        self.daemon.stop()
        self.daemon.configure(asterisk={"port": port})
        self.daemon.start()
        self.assertEqual(await self.ready(), 200)

    async def _serves(self) -> bool:
        try:
            return (await self.request("/healthz"))[0] == 200
        except Exception:
            return False

    async def test_recordings_folder_gone(self) -> None:
        """A folder that is not there is failing, and calls are made all the same."""
        self.daemon.stop()
        self.daemon.configure(asterisk={"recordings_mount": str(self.daemon.folder / "none")})
        self.daemon.start()
        part = await self.status_of("recordings", "failing")
        self.assertIn("No such file", part["detail"])
        health = await self.ask("health")
        self.assertEqual((health["status"], health["ready"]), ("degraded", True))


class Overdue(HealthCase):
    """A daemon that has little patience with calls."""

    lasts = 13.0

    tables = {
        "asterisk": {"operator_timeout": 30, "client_timeout": 30},
        "limits": {"longest_ringing": 3, "longest_talk": 4},
    }

    async def test_a_call_that_rings_too_long(self) -> None:
        """It is closed, marked so, and counted."""
        call_id = await self.make_call("1106", "380630000034")
        states = await self.finished(call_id, 20)
        self.assertIn("closed by the watchdog: ringing for more than 3 s", states[-1]["detail"])
        self.assertEqual([state["final"] for state in states].count(True), 1)
        numbers = await self.numbers()
        self.assertGreaterEqual(numbers["ccdaemon_calls_closed_by_watchdog_total{}"], 1)

    async def test_a_talk_that_lasts_too_long(self) -> None:
        """It is closed in the history as a talk; the phones talk on, and nothing is told twice."""
        call_id = await self.make_call("1142", "380630000004")
        states = await self.finished(call_id, 25)
        self.assertEqual(states[-1]["state"], "FINISH")
        self.assertIn("closed by the watchdog: talking for more than 4 s", states[-1]["detail"])
        await self.sleep(8)
        self.assertEqual(await self.states(call_id), states)
        self.assertEqual((await self.api("sipList", sip="1142"))["status"], "ok")


class Systemd(HealthCase):
    """The daemon as systemd starts it: ready, alive, and silent when frozen."""

    shared = False
    starts_daemon = False

    def listen(self, seconds: float) -> Callable[[], list[str]]:
        """Be systemd, which wants a sign of life every so many seconds; what is heard of it."""
        path = Path("/tmp") / f"ccdaemon-notify-{os.getpid()}-{id(self)}"
        systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        systemd.bind(str(path))
        systemd.setblocking(False)
        self.addCleanup(systemd.close)
        self.addCleanup(path.unlink)
        wanted = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(seconds * 1_000_000))}
        self.patch(os, "environ", {**os.environ, **wanted})

        def heard() -> list[str]:
            lines = []
            while True:
                try:
                    lines.append(systemd.recv(1000).decode())
                except BlockingIOError:
                    return lines

        return heard

    async def test_frozen_in_a_talk(self) -> None:
        """Frozen, the daemon is missed, killed and started anew; the talk goes on, and is told
        whole, each state once, with its real length."""
        heard = self.listen(2.0)
        self.daemon.start()
        call_id = await self.make_call("1143", "380630000003")
        await self.wait_for(lambda: self.chain(call_id), 10, "the call")

        async def talking() -> bool:
            return "CLIENT_PICKUP" in await self.chain(call_id)

        await self.wait_for(talking, 10, "the talk")
        self.daemon.send(signal.SIGSTOP)
        await self.sleep(0.2)
        heard()
        await self.sleep(2.5)
        self.assertEqual(heard(), [])
        self.daemon.kill()
        self.daemon.start()
        self.assertTrue(heard()[0].startswith("READY=1"))
        states = await self.finished(call_id, 20)
        names = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO", "CLIENT_PICKUP"]
        self.assertEqual([state["state"] for state in states], [*names, "FINISH"])
        [call] = await self.ask("callHistory", call_id=call_id)
        self.assertApproximates(call["talk_seconds"], 5.0, 1.0)
        self.assertEqual(call["hung_up_by"], "client")

    async def test_signs_of_life(self) -> None:
        """READY once it serves; signs of life; none while it is frozen; STOPPING at its end."""
        heard = self.listen(1.0)
        self.daemon.start()
        lines = heard()
        self.assertTrue(lines[0].startswith("READY=1"), lines)
        await self.sleep(2.0)
        alive = heard()
        self.assertGreaterEqual(alive.count("WATCHDOG=1"), 2)
        self.daemon.send(signal.SIGSTOP)
        try:
            await self.sleep(0.2)
            heard()
            await self.sleep(2.0)
            self.assertEqual(heard(), [])
        finally:
            self.daemon.send(signal.SIGCONT)
        await self.wait_for(lambda: "WATCHDOG=1" in heard(), 5, "a sign of life again")
        self.daemon.stop()
        self.assertTrue(heard()[-1].startswith("STOPPING=1"))
