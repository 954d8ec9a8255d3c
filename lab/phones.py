"""SIP phones: SIPp processes that register, ring, answer, refuse, talk and hang up.

Knows SIPp's command line and its log; what the phones do is in ``behaviours``, how that is said to
SIPp in ``scenario``.
"""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lab import Unavailable, outgoing, scenario
from lab.audio import tone
from lab.behaviours import PLAN, Behaviour
from lab.processes import Child, Ledger, free_port, wait_until
from lab.roots import Root

_REGISTER_TIMEOUT = 20.0
_REGISTER_TRIES = 3
# A machine under load must not make SIPp give up.
_PATIENCE = ("-watchdog_minor_maxtriggers", "1000000", "-watchdog_major_maxtriggers", "1000000")


@dataclass(frozen=True)
class PhoneEvent:
    """What a phone did or was told, by the phone itself.

    ``time`` is in seconds since the epoch. ``event``: invite (detail: the caller's From), ringing,
    refused (detail: the code), answered, cancelled (by the caller), bye (the other side hung up),
    hangup (the phone did), dialled. ``number`` is the number dialled.
    """

    time: float
    event: str
    call_id: str
    number: str
    detail: str


@dataclass
class Phones:
    """All phones at one address. ``server`` is Asterisk's SIP address; ``hertz`` their voice."""

    root: Root
    name: str
    server: tuple[str, int]
    host: str = "127.0.0.1"
    port: int = 0
    hertz: int = 440
    plan: Mapping[str, Behaviour] = field(default_factory=lambda: PLAN)
    ledger: Ledger | None = None
    _child: Child | None = field(default=None, init=False)
    _calls: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.port:
            self.port = free_port(socket.SOCK_DGRAM, self.host)

    @property
    def folder(self) -> PurePosixPath:
        """The phones' folder as SIPp sees it."""
        return self.root.folder(self.name)

    @property
    def on_host(self) -> Path:
        """The phones' folder as seen from outside."""
        return self.root.on_host(self.folder)

    @property
    def pid(self) -> int | None:
        """The process id; None while it is stopped."""
        child = self._child
        return child.pid if child is not None and child.status is None else None

    def start(self) -> None:
        """Let the phones take calls; the log goes on. :raises Unavailable: SIPp does not start."""
        if not self.on_host.exists():
            self.on_host.mkdir(parents=True)
            if self.ledger is not None:
                self.ledger.made(self.on_host)
            (self.on_host / "tone.ulaw").write_bytes(tone(self.hertz, 1.0))
        sound = str(self.folder / "tone.ulaw")
        (self.on_host / "answer.xml").write_text(scenario.answering(self.plan, sound))
        self._child = self._sipp("answer", "-l", "5000", port=self.port)
        wait_until(self._listens, 10.0, f"the phones {self.name} listen")

    def stop(self) -> None:
        """Switch the phones off without a word: calls are left hanging."""
        if self._child is not None:
            self._child.kill()

    def register(self, users: Iterable[str], password: str, expires: int = 3600) -> None:
        """Register phones with digest authentication.

        :raises Unavailable: one of them was refused, each time.
        """
        contact = "sip:{user}@" + f"{self.host}:{self.port}"
        rows = [f"{user};{password};{contact.format(user=user)};{expires}" for user in users]
        if not rows:
            return
        # SIPp gives a phone up where an answer is repeated, as it is on a busy machine.
        said: str | None = ""
        for _ in range(_REGISTER_TRIES):
            if (said := self._register(rows)) is None:
                return
        raise Unavailable(f"{len(rows)} phones could not all register: {said}")

    def _register(self, rows: list[str]) -> str | None:
        """Register them once; why it failed, if it did."""
        job = f"register-{secrets.token_hex(4)}"
        (self.on_host / f"{job}.xml").write_text(outgoing.registering())
        (self.on_host / f"{job}.csv").write_text("\n".join(["SEQUENTIAL", *rows, ""]))
        server = f"{self.server[0]}:{self.server[1]}"
        table = str(self.folder / f"{job}.csv")
        limits = ("-m", str(len(rows)), "-r", "200", "-l", "50")
        status = self._sipp(job, "-inf", table, *limits, server).wait(_REGISTER_TIMEOUT)
        if status == 0:
            return None
        errors = self.on_host / f"{job}.errors"
        said = errors.read_text(errors="replace")[-1000:] if errors.exists() else ""
        return f"SIPp ended with {status}: {said}"

    def unregister(self, users: Iterable[str], password: str) -> None:
        """Take phones off the network, as a phone does that is switched off properly."""
        self.register(users, password, 0)

    def call(
        self,
        number: str,
        caller: str = "380440000000",
        shown: str = "",
        talk: float = 60.0,
        cancel_after: float | None = None,
        password: str = "",
        sound: bool = True,
    ) -> Child:
        """Dial ``number`` at the server, as ``caller``; the process ends with the call.

        ``caller`` and ``shown``, their name, may be empty and hold no semicolon.
        ``talk``: hang up so many seconds after the answer, unless the other side does.
        ``cancel_after``: give up so many seconds after the last sign of ringing.
        ``password``: the caller's, where Asterisk asks for one. ``sound``: they play a tone.
        """
        self._calls += 1
        job = f"call-{self._calls}"
        tone = str(self.folder / "tone.ulaw") if sound else None
        (self.on_host / f"{job}.xml").write_text(
            outgoing.calling(talk, cancel_after, tone, bool(password))
        )
        user = f"{caller}@" if caller else ""
        quoted = shown.replace("\\", "\\\\").replace('"', '\\"')
        (self.on_host / f"{job}.csv").write_text(
            f"SEQUENTIAL\n{caller};{quoted};{password};{user}\n"
        )
        server = f"{self.server[0]}:{self.server[1]}"
        table = str(self.folder / f"{job}.csv")
        return self._sipp(job, "-inf", table, "-m", "1", "-s", number, server)

    def events(self, number: str | None = None) -> list[PhoneEvent]:
        """What happened at the phones so far, in order of time; of one number if asked."""
        found = []
        for path in self.on_host.glob("*.log"):
            for line in path.read_text(errors="replace").splitlines():
                event = phone_event(line)
                if event is not None and number in (None, event.number):
                    found.append(event)
        return sorted(found, key=lambda event: event.time)

    def invites(self, number: str) -> int:
        """How many times a phone was called."""
        return sum(event.event == "invite" for event in self.events(number))

    def _sipp(self, job: str, *options: str, port: int = 0) -> Child:
        assert self.root.sipp is not None
        base = random.randrange(20_000, 32_000, 400)
        argv = [
            *(self.root.sipp, "-sf", str(self.folder / f"{job}.xml"), "-nostdin", "-skip_rlimit"),
            *("-i", self.host, "-mi", self.host, "-aa", *_PATIENCE),
            *("-ci", "127.0.0.1", "-cp", str(free_port(socket.SOCK_DGRAM))),
            *("-min_rtp_port", str(base), "-max_rtp_port", str(base + 4000)),
            *("-trace_logs", "-log_file", str(self.folder / f"{job}.log"), "-log_overwrite", "0"),
            *("-trace_err", "-error_file", str(self.folder / f"{job}.errors")),
            *("-p", str(port or free_port(socket.SOCK_DGRAM, self.host)), *options),
        ]
        log = self.on_host / f"{job}.console"
        return Child(self.root.command(*argv), log, ledger=self.ledger)

    def _listens(self) -> bool:
        assert self._child is not None
        if self._child.status is not None:
            said = self._child.log.read_text(errors="replace")[-1000:]
            raise Unavailable(f"SIPp ended with {self._child.status}: {said}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self.host, self.port))
            except OSError:
                return True
        return False


def phone_event(line: str) -> PhoneEvent | None:
    """A line of SIPp's log; None for one that is just being written or is SIPp's own."""
    fields = line.split("|", 5)
    if len(fields) != 6:
        return None
    seconds, microseconds, event, call_id, number, detail = fields
    # A number that is zero is written as nothing, once in a million microseconds.
    time = float(seconds) + float(microseconds or "0") / 1e6
    return PhoneEvent(time, event, call_id, number, detail.strip())
