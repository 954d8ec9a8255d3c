"""``make demo``: the lab with the daemon, a call out and a call in, step by step, until Ctrl-C.

Asks the daemon over HTTP as a CRM would; knows nothing else of it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from ccdaemon.api.clients import Permission
from lab import Unavailable
from lab.daemon import Daemon, DaemonFailed
from lab.debian import cache_folder
from lab.stack import Lab

_PORT = 8080
_OPERATOR, _CLIENT = "1000", "380440000003"
#: Who calls in, what they dial, how long they talk; the first operator rings out, the second
#: answers.
_CALLER, _DIALLED, _TALKS = "380440000020", "380440000000", 3.0
_RINGS, _TAKES = "1006", "1001"
#: What the demo's client may do: everything.
_PERMISSIONS = [permission.value for permission in Permission]
_CALL_TIMEOUT = 60.0
_ENDS = {signal.SIGINT, signal.SIGTERM}


def main() -> int:
    """Show it and return the exit status."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {line}", flush=True)

    try:
        lab = Lab(progress=say)
        try:
            _show(lab, say)
        finally:
            say("stopping everything")
            lab.close()
    except (Unavailable, DaemonFailed) as error:
        print(f"\nThe demo cannot be shown: {error}", file=sys.stderr)
        if os.geteuid() != 0:
            print(_WITHOUT_ROOT, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _show(lab: Lab, say: Any) -> None:
    say(f"starting Asterisk {lab.root.version}, its phones and a Postgres, all on loopback")
    lab.start()
    say("starting ccdaemon")
    folder = cache_folder() / "demo" / lab.name
    lab.ledger.made(folder)
    tables = {
        "asterisk": lab.asterisk_settings(),
        "database": {"url": lab.postgres.create_database("ccdaemon")},
        "clients": [{"name": "demo", "networks": ["127.0.0.0/8"], "permissions": _PERMISSIONS}],
        "routing": {"operators": [_RINGS, _TAKES], "ring_timeout": 3},
    }
    port = _free(_PORT)
    if port is None:
        say(f"port {_PORT} is taken by somebody else: HTTP gets another one this time")
    daemon = Daemon(folder, tables, lab.ledger, port=port)
    lab.asterisk.set_globals(CC_AGI=daemon.agi)
    daemon.start()
    try:
        _call_out(daemon, say)
        _call_in(lab, daemon, say)
        print(_afterwards(daemon), flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        signal.sigwait(_ENDS)
        print()
    finally:
        daemon.stop()


def _call_out(daemon: Daemon, say: Any) -> None:
    key = str(time.time_ns())
    asked = {"sip": _OPERATOR, "phone": _CLIENT, "order_id": "15", "external_key": key}
    say(f"asking for a call: {daemon.url}/api/makeCall.json?{urlencode(asked)}")
    call_id = _ask(daemon, "makeCall", **asked)["response"]["call_id"]
    say(f"Asterisk has taken it as call {call_id}; its states as they come:")
    _follow(daemon, call_id, say)
    record = _recording(daemon, call_id)
    say(f"the recording: {record['duration']} s, {record['size']:,} bytes, {record['url']}")
    say("the same story as XML:")
    story = ElementTree.fromstring(_get(daemon, "callHistory", "xml", call_id=call_id))
    ElementTree.indent(story)
    print(ElementTree.tostring(story, encoding="unicode"), flush=True)


def _call_in(lab: Lab, daemon: Daemon, say: Any) -> None:
    cursor = _ask(daemon, "callHistory", after="0", limit=1000)["next"]
    say(f"a client calls in; first operator {_RINGS} is rung, then {_TAKES}:")
    lab.clients.call(_DIALLED, _CALLER, talk=_TALKS)
    _follow(daemon, None, say, cursor)


def _follow(daemon: Daemon, call_id: int | None, say: Any, cursor: str = "0") -> None:
    """Tell states from the cursor on until a call ends; of one call, if it is named."""
    end = time.monotonic() + _CALL_TIMEOUT
    while time.monotonic() < end:
        page = _ask(daemon, "callHistory", after=cursor, wait=10)
        cursor = page["next"]
        for state in page["response"]:
            if call_id not in (None, state["call_id"]):
                continue
            words = f"{state['state']:18}{state['sip'] or '':6}{state['detail'] or ''}"
            say(f"    {state['date'][11:23]}  {words}".rstrip())
            if state["final"]:
                return
    raise DaemonFailed(f"call {call_id or 'of the client'} did not end\n{daemon.tail()}")


def _recording(daemon: Daemon, call_id: int) -> dict[str, Any]:
    """The recording is registered once Asterisk has closed the file."""
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        for record in _ask(daemon, "recordList")["response"]["data"]:
            if record["call_id"] == call_id:
                found: dict[str, Any] = record
                return found
        time.sleep(0.2)
    raise DaemonFailed(f"there is no recording of call {call_id}\n{daemon.tail()}")


def _ask(daemon: Daemon, method: str, **parameters: object) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(_get(daemon, method, "json", **parameters))
    return envelope


def _get(daemon: Daemon, method: str, form: str, **parameters: object) -> bytes:
    url = f"{daemon.url}/api/{method}.{form}?{urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30.0) as answer:
        body: bytes = answer.read()
        return body


def _free(port: int) -> int | None:
    """The port itself if nobody has it."""
    with socket.socket() as probe:
        # Connections of the demo before this one may linger; they are in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
    return port


def _afterwards(daemon: Daemon) -> str:
    python = Path(sys.executable)
    return _AFTERWARDS.format(
        url=daemon.url, config=daemon.config, log=daemon.log, bin=python.parent
    )


_WITHOUT_ROOT = """
Run as root it gets itself what is missing. Without root: install asterisk and SIPp 3.7 or later,
or name an Asterisk that is not on PATH in CCDAEMON_ASTERISK."""

_AFTERWARDS = """
Everything goes on running. Try, in another window:

  a call to a client who talks for 30 s; the same line again is refused: the key is used up
    curl '{url}/api/makeCall.json?sip=1000&phone=380440000035&order_id=16&external_key=1'
  while they talk: everything known of it; music for the client; another operator; the end
    curl '{url}/api/call.json?external_key=1'
    curl '{url}/api/hold.json?call_id=3'
    curl '{url}/api/unhold.json?call_id=3'
    curl '{url}/api/transfer.json?call_id=3&sip=1002'
    curl '{url}/api/hangup.json?call_id=3'
  everything as it happens, in a window of its own
    curl -N '{url}/api/events'
  who is on the phone now, and what operator 1000 did
    curl '{url}/api/sipList.json?status=inuse'
    curl '{url}/api/operatorHistory.json?sip=1000'
  the call's states, also while it goes on; all calls of the order, as XML
    curl '{url}/api/callHistory.json?external_key=1'
    curl '{url}/api/orderHistory.xml?order_id=16&group_by_call=1'
  the recordings of the order, of all orders, and that of call 1 as mp3
    curl '{url}/api/orderRecords.json?order_id=16'
    curl '{url}/api/recordList.json'
    curl -o call.mp3 '{url}/api/record/1.mp3'
  all methods and their parameters (OpenAPI)
    curl '{url}/api/openapi.json'

What a phone does is in the last two digits of its number, operators 1000 to 1059 and clients
alike: 00 talks until the other hangs up, 01 hangs up after 2 s, 05 is busy, 06 rings for ever,
07 declines, 11 is not found (all of them: lab/behaviours.py).

  configuration  {config}
  log            {log}
  self-check     {bin}/ccdaemon check {config}

Ctrl-C ends it all, and removes what it made.
"""

if __name__ == "__main__":
    sys.exit(main())
