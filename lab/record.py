"""``python -m lab.record DIR``: what Asterisk says of every way in which a call can go, kept.

Each call of ``tests.trace_rows`` is made once, alone, on Asterisk 22 with PJSIP and on Asterisk 16
with chan_sip. DIR/22-pjsip/ROW.ami holds the bytes that AMI sent meanwhile to a session with the
daemon's rights and filter, ROW.cel the rows that Asterisk wrote to its log of channel events. Of
one row there is also what AMI sends without any filter. Knows how to ask the daemon for a call;
what is recorded is not understood here.
"""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import sys
import time
import urllib.request
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode

from lab.daemon import Daemon
from lab.debian import Suite
from lab.processes import wait_until
from lab.sip_files import Flavour
from lab.stack import Lab
from tests.integration.rows import ANSWERS, CLIENT_TIMEOUT, OPERATOR_TIMEOUT
from tests.trace_rows import OFFLINE, RECORDED, Recorded

LABS: tuple[tuple[Suite, Flavour, str], ...] = (
    ("sid", "pjsip", "22-pjsip"),
    ("bullseye", "chan_sip", "16-chan_sip"),
)
#: The row that is also recorded as somebody hears it who asks for everything.
IN_FULL = "talk_client_hangs_up"
#: An AMI user with all rights to read and no filter.
EVERYTHING = "everything"
_TIMEOUTS = {"operator_timeout": OPERATOR_TIMEOUT, "client_timeout": CLIENT_TIMEOUT}
#: Seconds that Asterisk is given to say what it has to say about a call that is over.
_SETTLE = 0.5
#: The call of an operator who is not there: the daemon, who knows, would not ask for it.
_ANCHOR = "cc-000000-1-o"


class Session(Thread):
    """An AMI session that only listens, and keeps every byte."""

    def __init__(self, port: int, username: str, secret: str) -> None:
        super().__init__(daemon=True)
        self.heard = b""
        self._link = socket.create_connection(("127.0.0.1", port))
        self.action("Login", Username=username, Secret=secret)
        self.start()
        wait_until(lambda: b"Event: FullyBooted" in self.heard, 10.0, f"AMI let {username} in")

    def run(self) -> None:
        """Listen until either side ends it."""
        while data := self._link.recv(1 << 16):
            self.heard += data

    def action(self, name: str, **headers: str) -> None:
        """Have something done."""
        lines = [f"Action: {name}", *(f"{key}: {value}" for key, value in headers.items()), "", ""]
        self._link.sendall("\r\n".join(lines).encode())

    def end(self) -> bytes:
        """Everything that was heard."""
        time.sleep(_SETTLE)
        self._link.shutdown(socket.SHUT_RDWR)
        self.join(5.0)
        return self.heard


class Recorder:
    """One Asterisk, its phones, a daemon, and the folder for what is heard."""

    def __init__(self, suite: Suite, flavour: Flavour, folder: Path) -> None:
        self._lab = Lab(suite=suite, flavour=flavour)
        asterisk = self._lab.asterisk
        user = f"\n[{EVERYTHING}]\nsecret={asterisk.secret}\nread=all\n"
        asterisk.extra = {"manager.conf": user}
        self._folder = folder
        self._daemon: Daemon | None = None
        # The last one's phone may not have put down yet.
        self._talkers = itertools.cycle(f"10{number}" for number in range(40, 60))

    def record(self) -> None:
        """Record all rows."""
        self._lab.start()
        place = self._folder / "daemon"
        try:
            settings = {**self._lab.asterisk_settings(), **_TIMEOUTS}
            url = self._lab.postgres.create_database("record")
            self._daemon = Daemon(place, {"asterisk": settings, "database": {"url": url}})
            for name, recorded in RECORDED.items():
                print(self._folder.name, name, flush=True)
                self._dial_by(recorded.trunk)
                self._one(name, recorded)
        finally:
            if self._daemon is not None:
                self._daemon.stop()
            self._lab.close()
            shutil.rmtree(place, ignore_errors=True)

    def _dial_by(self, trunk: str) -> None:
        daemon = self._daemon
        assert daemon is not None
        channel = self._lab.asterisk.client_channel.replace("@trunk", f"@{trunk}")
        if daemon.pid is None or daemon.tables["asterisk"]["client_channel"] != channel:
            daemon.stop()
            daemon.configure(asterisk={"client_channel": channel})
            daemon.start()

    def _one(self, name: str, recorded: Recorded) -> None:
        asterisk = self._lab.asterisk
        cel = asterisk.cel_file_on_host
        before = cel.stat().st_size if cel.exists() else 0
        users = ["ccdaemon", *([EVERYTHING] if name == IN_FULL else [])]
        sessions = [Session(asterisk.ports.ami, user, asterisk.secret) for user in users]
        row = recorded.row
        sip = next(self._talkers) if row.operator == ANSWERS else f"10{row.operator}"
        phone = f"3800000000{row.client}"
        if OFFLINE in row.chains:
            self._originate(sessions[0], sip)
        else:
            self._call(name, sip, phone)
            wait_until(lambda: b"LINKEDID_END" in _end_of(cel, before), 20.0, "the CEL is whole")
        for session, kind in zip(sessions, ("ami", "unfiltered.ami"), strict=False):
            (self._folder / f"{name}.{kind}").write_bytes(session.end())
        (self._folder / f"{name}.cel").write_bytes(_end_of(cel, before))

    def _call(self, key: str, sip: str, phone: str) -> None:
        asked = {"sip": sip, "phone": phone, "order_id": "15", "external_key": key}
        self._ask("makeCall", asked)
        wait_until(
            lambda: bool(self._ask("callHistory", {"external_key": key})[0]["final"]),
            20.0,
            "the call is over",
        )

    def _ask(self, method: str, parameters: dict[str, str]) -> list[dict[str, object]]:
        assert self._daemon is not None
        url = f"{self._daemon.url}/api/{method}.json?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10.0) as answer:
            response: list[dict[str, object]] = json.load(answer)["response"]
            return response

    def _originate(self, session: Session, sip: str) -> None:
        channel = self._lab.asterisk.operator_channel.replace("{sip}", sip)
        place = {"Context": "ccdaemon-outbound", "Exten": "s", "Priority": "1"}
        session.action("Originate", Channel=channel, ChannelId=_ANCHOR, Async="true", **place)
        wait_until(lambda: b"OriginateResponse" in session.heard, 10.0, "Asterisk gave up")


def _end_of(path: Path, start: int) -> bytes:
    return path.read_bytes()[start:] if path.exists() else b""


def main(arguments: list[str]) -> int:
    """Do it and return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m lab.record DIR", file=sys.stderr)
        return 2
    for suite, flavour, name in LABS:
        folder = Path(arguments[0]).absolute() / name
        folder.mkdir(parents=True, exist_ok=True)
        Recorder(suite, flavour, folder).record()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
