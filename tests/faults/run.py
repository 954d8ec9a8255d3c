"""One fault, injected again and again into a daemon of its own under calls, and judged."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep, time

from lab.daemon import Daemon
from lab.debian import Progress
from lab.line import Line
from lab.stack import Lab
from tests.faults.arriving import in_postgres, in_the_journal, not_as_told
from tests.faults.crm import Crm
from tests.faults.derivation import derived
from tests.faults.going_on import left_alone, made_again, not_made
from tests.faults.history import History, ask, fetch, read_history, read_streamed
from tests.faults.judging import Judge
from tests.faults.pace import Pace
from tests.faults.phones import Phones
from tests.faults.silences import dropped, meanwhile, seen
from tests.faults.stage import Fault, Stage
from tests.faults.table import Result
from tests.faults.traffic import FALLBACK, Attempt, Traffic
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT

_TICK = 0.05
#: Seconds of calls before the first fault, and after the last one.
_BEFORE, _AFTER = 5.0, 3.0
#: Seconds until every call is over and every recording complete.
_OVER_WITHIN = 60.0
#: Seconds until as many calls are up as a row is to have.
_FULL_WITHIN = 12.0


class Run:
    """One fault, on a daemon of its own."""

    def __init__(
        self, lab: Lab, fault: Fault, times: int, pace: Pace, mark: str, say: Progress
    ) -> None:
        self._lab = lab
        self._say = say
        self._haste = pace.haste
        self.fault = fault
        self._times = times
        self._crm = Crm()
        self._line = Line(lab.asterisk.ports.ami)
        self._line.start()
        name = f"faults_{mark}_{lab.name.replace('-', '_')}"
        folder = lab.ledger.path.parent.parent / "daemons" / name
        lab.ledger.made(folder)
        asterisk = {
            **lab.asterisk_settings(),
            "port": self._line.port,
            "ping_interval": 1,
            "operator_timeout": OPERATOR_TIMEOUT,
            "client_timeout": CLIENT_TIMEOUT,
        }
        self._daemon = Daemon(
            folder,
            {
                "asterisk": asterisk,
                "database": {"url": lab.postgres.create_database(name)},
                "routing": {"url": self._crm.url, "timeout": 1.0},
            },
            lab.ledger,
        )
        self._is_mounted = fault.small_disk
        if self._is_mounted:
            mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(self._daemon.state_dir)]
            subprocess.run(mount, check=True)
        lab.asterisk.set_globals(
            CC_AGI=self._daemon.agi,
            CC_FALLBACK=f"PJSIP/{FALLBACK}",
            CC_RECORDINGS=str(lab.asterisk.recordings_as_asterisk_sees),
        )
        self._stage = Stage(lab, self._daemon, self._line, name, self._crm, haste=pace.haste)
        self._daemon.configure(**fault.tables)
        patient = replace(pace, slack=pace.slack + fault.unheard * pace.haste)
        fill = round(fault.fill * pace.full)
        self._traffic = Traffic(lab, self._daemon, self._crm, patient, mark, fill, fault.goes_on)

    def run(self) -> Result:
        """Inject, wait until all is over, and judge."""
        result = Result(self.fault)
        if self.fault.prepare is not None:
            self.fault.prepare(self._stage)
        self._daemon.start()
        self._pass(_BEFORE * self._haste)
        moments = []
        for number in range(1, self._times + 1):
            self._fill()
            moments.append(time())
            for wait in self.fault.do(self._stage):
                self._pass(wait)
            self._pass(random.uniform(*self.fault.pause) * self._haste)
            self._say(f"{number} of {self._times}, {self._made} calls begun")
        self._pass(_AFTER * self._haste)
        self._traffic.settle()
        self._wait_for_the_end()
        history = read_history(self._daemon.url)
        self._judge(history, result, moments)
        return result

    @property
    def _made(self) -> int:
        return len(self._traffic.attempts)

    def _fill(self) -> None:
        """Let calls begin until as many are up as there are to be."""
        end = monotonic() + _FULL_WITHIN
        while not self._traffic.is_full() and monotonic() < end:
            self._pass(_TICK)

    def _pass(self, wait: float) -> None:
        end = monotonic() + wait
        while True:
            self._traffic.calls_in = self._stage.calls_in
            self._traffic.go_on()
            if self._stage.watchdog is not None:
                self._stage.watchdog.look()
            if monotonic() >= end:
                return
            sleep(_TICK)

    def _wait_for_the_end(self) -> None:
        self._until(lambda: self._lab.asterisk.channels() == 0, "every channel is gone")
        self._until(self._is_settled, "every call has its end")

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        end = monotonic() + _OVER_WITHIN
        while not is_so():
            if monotonic() > end:
                self._say(f"not within {_OVER_WITHIN:.0f} s: {what}")
                return
            sleep(0.5)

    def _is_settled(self) -> bool:
        answer = ask(self._daemon.url, "recordList", per_page=1)
        if answer["status"] != "ok":
            return False
        streamed = read_streamed(self._daemon.url)
        if not all(states[-1]["final"] for states in streamed.streamed.values()):
            return False
        history = read_history(self._daemon.url)
        return all(
            call["final"] and (not _has_talked(call) or history.records[call_id])
            for call_id, call in history.calls.items()
        )

    def _judge(self, history: History, result: Result, moments: Sequence[float]) -> None:
        attempts: list[Attempt] = self._traffic.attempts
        phones = Phones(self._lab)
        calls = seen(attempts, phones)
        result.in_flight = [sum(call.is_up(moment) for call in calls) for moment in moments]
        cuts, losses = self._stage.cuts, self._stage.losses
        judge = Judge(history, phones, cuts, losses, dated=self.fault.dated)
        result.wrong = judge.judge(attempts)
        result.checked = judge.checked
        if self.fault.goes_on:
            metrics = fetch(f"{self._daemon.url}/metrics")
            result.wrong += not_made(attempts)
            result.wrong += left_alone(attempts, phones, metrics)
            result.wrong += made_again(self._traffic.repeats, phones)
        node, told = in_the_journal(self._daemon.state_dir)
        # A list waits until Postgres has all that has been told by now.
        ask(self._daemon.url, "recordList", per_page=1)
        arrived = in_postgres(self._lab.postgres, self._stage.database, node)
        result.wrong += not_as_told(told, arrived)
        result.wrong += derived(self._logs(), history, node)
        lost = list(dropped(calls, self._stage.cuts))
        result.wrong += [*self._stage.wrong, *lost]
        if self.fault.check is not None:
            result.wrong += self.fault.check(self._stage, history)
        result.notes = [*self._stage.notes]
        if self._stage.silences:
            noticed = meanwhile(calls, self._stage.silences)
            result.wrong += noticed.wrong
            result.notes.append(noticed.words(len(lost)))
        for attempt in attempts:
            error = (attempt.answer or {}).get("error") or {}
            if error.get("code") not in (None, "asterisk_unavailable", "not_ready"):
                self._say(f"refused: {error}")

    def keep(self, folder: Path) -> None:
        """Leave what was written: the daemon's log and journal, the channel log, the phones'."""
        here = folder / self.fault.name.replace(" ", "-")
        self._daemon.stop()
        shutil.copytree(self._daemon.folder, here, dirs_exist_ok=True)
        for log in filter(Path.exists, self._logs()):
            shutil.copy(log, here)
        for phones in (self._lab.operators, self._lab.clients):
            text = "".join(f"{event}\n" for event in phones.events())
            (here / f"{phones.host}.events").write_text(text, "utf-8")

    def _logs(self) -> list[Path]:
        log = self._lab.asterisk.cel_file_on_host
        return [*sorted(log.parent.glob(f"{log.name}-*")), log]

    def close(self) -> None:
        """Take everything down."""
        self._daemon.stop()
        self._line.stop()
        self._crm.stop()
        if self.fault.restore is not None:
            self.fault.restore(self._stage)
        if self._is_mounted:
            subprocess.run(["umount", str(self._daemon.state_dir)], check=False)
        if self._lab.asterisk.pid is not None and self._lab.asterisk.channels():
            self._lab.asterisk.rx("channel request hangup all")


def _has_talked(call: dict[str, object]) -> bool:
    length = call["talk_seconds"]
    return isinstance(length, float) and length > 0.3
