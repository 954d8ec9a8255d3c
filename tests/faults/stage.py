"""What a fault is, and what it may touch.

A fault is a generator: what it yields are the seconds that pass, in which calls are begun and
end, before it goes on; it leaves everything as it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

from lab.daemon import Daemon
from lab.line import Line
from lab.stack import Lab
from lab.watchdog import Watchdog
from tests.faults.crm import Crm
from tests.faults.history import History
from tests.faults.marks import Cut, Silence, Wrong
from tests.faults.receiving import Receiver
from tests.integration.receiver import Receiver as Refuser

Steps = Iterator[float]
_POLL = 0.1
_READY_WITHIN = 60.0


@dataclass
class Stage:
    """What a fault may touch.

    ``cuts``: when Asterisk ended. ``losses``: when the journal was lost. ``calls_in``: clients may
    call. ``wrong``: what a fault saw that should not be, such as memory that grows. ``silences``:
    when the daemon was dead or stood still.
    ``notes``: what was measured, in words that go with the table. ``measured``: numbers of each
    injection, by what they are. ``postgres_line``: the way to Postgres, where a row has one laid.
    ``crm``: is asked who takes a call. ``receivers``: of webhooks, where a row has some;
    ``refuser``: one that has everything told twice. ``haste``: pauses and long faults are this part
    of their length, 1 in a whole run. ``watchdog``: watches the daemon meanwhile.
    """

    lab: Lab
    daemon: Daemon
    line: Line
    database: str
    crm: Crm
    cuts: list[Cut] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    calls_in: bool = True
    wrong: list[Wrong] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measured: dict[str, list[float]] = field(default_factory=dict)
    postgres_line: Line | None = None
    receivers: list[Receiver] = field(default_factory=list)
    haste: float = 1.0
    watchdog: Watchdog | None = None
    refuser: Refuser | None = None

    @property
    def is_short(self) -> bool:
        """Whether every injection has to be brief."""
        return self.haste < 1.0

    def away(self) -> float:
        """Seconds for which something is away."""
        return random.uniform(0.3, 5.0) * self.haste

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Meanwhile the daemon is dead or stands still: no talk may drop, clients are answered.

        To be left when it is ready again.
        """
        gone = time()
        yield
        self.silences.append(Silence(gone, time()))

    def start_again(self) -> Steps:
        """Start the daemon, and let time pass until it is at its work."""
        self.daemon.start(wait=False)
        yield from self.until_ready()

    def until_ready(self) -> Steps:
        """Let time pass until the daemon has a session with Asterisk.

        :raises AssertionError: it ended, or has none in time.
        """
        end = monotonic() + _READY_WITHIN
        while not self.daemon.is_ready():
            if self.daemon.pid is None or monotonic() > end:
                raise AssertionError(f"the daemon is not ready\n{self.daemon.tail(30)}")
            yield _POLL

    def until_lost(self) -> Steps:
        """Let time pass until the daemon knows that it has no session with Asterisk."""
        end = monotonic() + _READY_WITHIN
        while self.daemon.is_ready():
            if monotonic() > end:
                raise AssertionError(f"the session is not missed\n{self.daemon.tail(30)}")
            yield _POLL

    def until_ended(self, daemon: Daemon, within: float) -> Steps:
        """Let time pass until ``daemon`` has ended by itself, but no more than so many seconds."""
        end = monotonic() + within
        while daemon.pid is not None and monotonic() < end:
            yield _POLL


@dataclass(frozen=True)
class Fault:
    """A row: what is done, how it is called, how often in a whole run.

    ``small_disk``: the daemon's state_dir is a file system of a few megabytes. ``pause``: seconds
    between the end of one and the beginning of the next, at least and at most. ``tables``: what
    the daemon's configuration has besides. ``prepare``: is done before the daemon starts,
    ``restore`` after everything, whatever came of it. ``check``: what is wrong besides the chains,
    once all calls are over and while the daemon still runs. ``fill``: so many calls are kept up all
    the time. ``lasts``: seconds that one injection takes, about, in a whole run: what is longest is
    begun first. ``spoils``: the lab is not whole afterwards, and is not used again. ``unheard``:
    seconds for which the daemon may not hear that an operator has hung up: so much longer each is
    left alone. ``goes_on``: no call may notice: each is made, and none by a key that is used.
    ``dated``: the daemon's clock is everybody's; else its dates are not the phones'.
    """

    name: str
    do: Callable[[Stage], Steps]
    times: int
    small_disk: bool = False
    pause: tuple[float, float] = (1.0, 4.0)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prepare: Callable[[Stage], None] | None = None
    restore: Callable[[Stage], None] | None = None
    check: Callable[[Stage, History], Iterable[Wrong]] | None = None
    fill: int = 0
    lasts: float = 5.0
    unheard: float = 0.0
    spoils: bool = False
    goes_on: bool = False
    dated: bool = True

    @property
    def words(self) -> str:
        """What is done, in a line."""
        return (self.do.__doc__ or "").strip().splitlines()[0]
