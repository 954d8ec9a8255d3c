"""What the daemon costs beside Asterisk: CPU seconds of both over the same calls.

    python -m bench.calls [CALLS]        default 200; needs root, as the lab does

Every call is answered on both sides, talks for two seconds, is recorded, and is asked for once by
``callHistory``. Prints CPU milliseconds per call and the ratio, daemon to Asterisk; Postgres and
the phones are not counted. Ratios in one run: the machine may be slow, but it is so for both.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from lab.daemon import Daemon
from lab.stack import Lab

#: Operators whose phones answer, one call each at a time.
OPERATORS = [f"1{floor}{n}" for floor in range(3) for n in range(40, 60)]
#: A client who hangs up two seconds after their answer.
CLIENT = "380000000001"
#: Seconds for a call to be over: ringing on both sides, the talk, and some.
CALL_SECONDS = 3.5


def cpu(pid: int) -> float:
    """CPU seconds that a process has used, with what its threads used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(daemon: Daemon, method: str, **parameters: object) -> dict[str, object]:
    """Ask the API; the envelope."""
    with urllib.request.urlopen(
        f"{daemon.url}/api/{method}.json?{urlencode(parameters)}"
    ) as answer:
        envelope: dict[str, object] = json.load(answer)
        return envelope


def run(daemon: Daemon, calls: int) -> int:
    """Make the calls, all operators at once, round after round; how many finished."""
    made: list[object] = []
    while len(made) < calls:
        begun = time.monotonic()
        for sip in OPERATORS[: calls - len(made)]:
            key = f"bench-{len(made)}"
            answer = ask(
                daemon, "makeCall", sip=sip, phone=CLIENT, order_id="bench", external_key=key
            )
            made.append(answer["response"]["call_id"])  # type: ignore[index]
        time.sleep(max(0.0, CALL_SECONDS - (time.monotonic() - begun)))
        print(f"{len(made)} of {calls} calls", file=sys.stderr, flush=True)
    time.sleep(1)
    histories = [ask(daemon, "callHistory", call_id=call_id) for call_id in made]
    return sum("FINISH" in json.dumps(history) for history in histories)


def main() -> None:
    """Run the lab and the daemon, measure, print."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    lab = Lab()
    lab.start()
    try:
        with TemporaryDirectory() as folder:
            url = lab.postgres.create_database("bench")
            daemon = Daemon(
                Path(folder), {"asterisk": lab.asterisk_settings(), "database": {"url": url}}
            )
            daemon.start()
            try:
                assert daemon.pid and lab.asterisk.pid
                ours, theirs = cpu(daemon.pid), cpu(lab.asterisk.pid)
                finished = run(daemon, calls)
                ours, theirs = cpu(daemon.pid) - ours, cpu(lab.asterisk.pid) - theirs
            finally:
                daemon.stop()
    finally:
        lab.close()
    print(f"{finished} of {calls} calls finished")
    print(f"Asterisk {theirs / calls * 1000:.1f} ms of CPU a call")
    print(f"ccdaemon {ours / calls * 1000:.1f} ms of CPU a call")
    print(f"ratio    {ours / theirs:.1%}")


if __name__ == "__main__":
    main()
