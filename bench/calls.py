"""What the daemon costs beside Asterisk, and beside a library that only watches the same calls.

    python -m bench.calls [SECONDS]      default 20 at each rate; needs root, as the lab does

First a hundred and ninety operators stand idle. Then calls are made at 5 and at 15 a second: each
is answered on both sides, talks for two seconds and is recorded, while one reader follows the
stream of events. Beside the daemon ``cacofonisk`` (PyPI), in an environment of its own, follows
the same calls by AMI and keeps nothing. Prints CPU milliseconds a call of all three, and how long
makeCall and the stream took; Postgres and the phones are not counted. Ratios in one run: the
machine may be slow, but it is so for all.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from urllib.parse import urlencode

from lab.daemon import Daemon
from lab.debian import cache_folder
from lab.stack import Lab

#: Operators whose phones answer, one call each at a time.
OPERATORS = [f"1{floor}{n}" for floor in range(3) for n in range(40, 60)]
#: A client who hangs up two seconds after his answer.
CLIENT = "380000000001"
#: Calls a second.
RATES = (5, 15)
#: Seconds for a call to be over: ringing on both sides, the talk, and some.
CALL_SECONDS = 5.0
#: Seconds for which everybody stands idle: operators are looked at once a minute.
IDLE = 65.0
#: Seconds from the start until it is over.
SETTLE = 5.0
PEER = "cacofonisk==0.7.10"
#: The AMI user of the peer hears what it asks for: the calls.
USER = "\n[peer]\nsecret={secret}\nread=call\neventfilter=!Event: (RTCP|VarSet|Newexten)\n"


def cpu(pid: int) -> float:
    """CPU seconds that a process has used, with the threads that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_cpu(pid: int) -> float:
    """CPU seconds of the threads that are there: to the nanosecond, since a tick is 10 ms."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def sleeps(pid: int) -> int:
    """How often the threads of a process have gone to sleep."""
    found = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/status"):
        _, _, rest = thread.read_text().partition("\nvoluntary_ctxt_switches:")
        found += int(rest.split()[0])
    return found


def peer_python() -> Path:
    """The peer's environment, made unless it is there."""
    folder = cache_folder() / f"bench-{PEER}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PEER], check=True)
        (folder / "ready").touch()
    return python


@dataclass
class Follower(Thread):
    """Reads the stream: how many ms after its date each state came, and which calls ended."""

    port: int
    late: list[float] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = Thread.__hash__

    def run(self) -> None:
        """Read until the daemon ends."""
        link = http.client.HTTPConnection("127.0.0.1", self.port)
        link.request("GET", "/api/events?types=call.state")
        answer = link.getresponse()
        while line := answer.readline():
            if line.startswith(b"data:"):
                state = json.loads(line[5:])["data"]
                date = datetime.fromisoformat(state["date"]).timestamp()
                self.late.append((time.time() - date) * 1000)
                if state["final"]:
                    self.ended.add(state["call_id"])


def make_call(port: int, sip: str, key: str) -> float | None:
    """Make a call; how many ms the answer took. None: its operator was still on the phone."""
    asked = {"sip": sip, "phone": CLIENT, "order_id": "bench", "external_key": key}
    began = time.monotonic()
    link = http.client.HTTPConnection("127.0.0.1", port)
    link.request("GET", f"/api/makeCall.json?{urlencode(asked)}")
    answer = json.load(link.getresponse())
    link.close()
    if answer["status"] != "ok":
        assert answer["error"]["code"] == "operator_busy", answer
        return None
    return (time.monotonic() - began) * 1000


def run(port: int, rate: int, seconds: float) -> list[float]:
    """Make calls, as many a second; how long each answer took."""
    sips, answers = cycle(OPERATORS), []
    with ThreadPoolExecutor(8) as threads:
        begun = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            key = f"bench-{rate}-{number}"
            answers.append(threads.submit(make_call, port, next(sips), key))
    time.sleep(CALL_SECONDS)
    return [took for answer in answers if (took := answer.result()) is not None]


def percentiles(values: list[float]) -> str:
    """The middle, and what all but one of a hundred stay below."""
    ordered = sorted(values)
    return (
        f"p50 {ordered[len(ordered) // 2]:.0f} ms, p99 {ordered[len(ordered) * 99 // 100]:.0f} ms"
    )


def measure(lab: Lab, daemon: Daemon, peer: int, seconds: float) -> None:
    """Stand idle, make calls, print."""
    assert daemon.pid and lab.asterisk.pid
    pids = {"Asterisk": lab.asterisk.pid, "ccdaemon": daemon.pid, "cacofonisk": peer}
    time.sleep(SETTLE)
    before = {name: idle_cpu(pid) for name, pid in pids.items()}
    time.sleep(IDLE)
    shares = {name: (idle_cpu(pid) - before[name]) / IDLE for name, pid in pids.items()}
    print("idle: " + ", ".join(f"{name} {share:.2%}" for name, share in shares.items()), flush=True)
    follower = Follower(daemon.port)
    follower.start()
    for rate in RATES:
        follower.late.clear()
        follower.ended.clear()
        before = {name: cpu(pid) for name, pid in pids.items()}
        slept = sleeps(daemon.pid)
        answers = run(daemon.port, rate, seconds)
        used = {name: cpu(pid) - before[name] for name, pid in pids.items()}
        calls = len(answers)
        print(f"{rate} calls a second: {len(follower.ended)} of {calls} ended")
        for name in pids:
            share = used[name] / used["Asterisk"]
            print(f"  {name:10} {used[name] / calls * 1000:5.1f} ms of CPU a call ({share:.0%})")
        print(f"  ccdaemon slept {(sleeps(daemon.pid) - slept) / calls:.0f} times a call")
        print(f"  makeCall {percentiles(answers)}; stream {percentiles(follower.late)}", flush=True)


def main() -> None:
    """Run the lab, the daemon and the peer, and measure."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    python = peer_python()
    lab = Lab()
    lab.asterisk.extra = {"manager.conf": USER.format(secret=lab.asterisk.secret)}
    lab.start()
    try:
        with TemporaryDirectory() as folder:
            url = lab.postgres.create_database("bench")
            tables = {"asterisk": lab.asterisk_settings(), "database": {"url": url}}
            daemon = Daemon(Path(folder), tables)
            daemon.start()
            address = ["127.0.0.1", str(lab.asterisk.ports.ami), "peer", lab.asterisk.secret]
            peer = subprocess.Popen(
                [python, Path(__file__).parent / "peer.py", *address], stderr=subprocess.DEVNULL
            )
            try:
                measure(lab, daemon, peer.pid, seconds)
            finally:
                peer.terminate()
                peer.wait()
                daemon.stop()
    finally:
        lab.close()


if __name__ == "__main__":
    main()
