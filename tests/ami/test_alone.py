"""Tests that the protocol libraries can be used without the daemon."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Timer

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from tests.ami.recorded import QUIET, recorded

PACKAGE = Path(ccdaemon.__file__).parent
ROOT = PACKAGE.parent
EXAMPLE = ROOT / "docs" / "examples" / "ami_and_fastagi.py"
#: Seconds after which an example that hangs is ended.
MOST = 20.0

#: Lets Python find nothing of ours but the two.
_BLOCKING = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        words = name.split(".")
        if words[0] == "ccdaemon" and words[1:] and words[1] not in ("ami", "fastagi"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
"""


class AloneTests(SynchronousTestCase):
    """``ccdaemon.ami`` and ``ccdaemon.fastagi``."""

    def test_nothing_else_of_ours(self) -> None:
        """All their modules can be imported where nothing else of the daemon can be."""
        names = [
            f"ccdaemon.{path.parent.name}.{path.stem}"
            for folder in ("ami", "fastagi")
            for path in sorted((PACKAGE / folder).glob("[a-z]*.py"))
        ]
        self.assertGreater(len(names), 8)
        script = _BLOCKING + "".join(f"import {name}\n" for name in names)
        others = "klein", "treq", "lxml", "psycopg2", "msgspec", "twisted.internet.reactor"
        script += f"print([name for name in {others} if name in sys.modules])\n"
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((done.stdout, done.stderr), ("[]\n", ""))

    def test_the_example(self) -> None:
        """It logs in, tells of an end as Asterisk has told of it, and talks to a call."""
        with ExitStack() as stack:
            asterisk = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            asterisk.settimeout(MOST)
            where = f"tcp:127.0.0.1:{asterisk.getsockname()[1]}"
            run = f"{_BLOCKING}from runpy import run_path\ndel sys.argv[0]\n"
            run += "run_path(sys.argv[0], None, '__main__')"
            program = subprocess.Popen(
                [sys.executable, "-c", run, EXAMPLE, where, "u", "s", "tcp:0:interface=127.0.0.1"],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
            assert program.stdout is not None
            stack.callback(program.stdout.close)
            stack.callback(program.wait)
            stack.callback(program.kill)
            timer = Timer(MOST, program.kill)
            timer.start()
            stack.callback(timer.cancel)
            port = int(program.stdout.readline().rpartition(" ")[2])
            link = stack.enter_context(asterisk.accept()[0])
            _log_in(link)
            self.assertEqual(program.stdout.readline(), "AMI 11.0.0: 0 channels\n")
            link.sendall(recorded(QUIET[0]).partition(b"\r\n")[2])
            self.assertEqual(program.stdout.readline(), "ended: PJSIP/trunk-00000017: User busy\n")
            call = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            answers = b"200 result=0", b"200 result=1 (PJSIP/1-1)", b"200 result=49"
            _ask(call, b"agi_network_script: hello\nagi_callerid: 1000\n\n", answers)
            self.assertTrue(program.stdout.readline().startswith("ended: PJSIP/1000-"))
            self.assertEqual(program.stdout.readline(), "call from 1000 on PJSIP/1-1\n")
            self.assertEqual(program.stdout.readline(), "pressed: 1\n")


def _log_in(link: socket.socket) -> None:
    """Greet, take the login, have no channels."""
    link.sendall(b"Asterisk Call Manager/11.0.0\r\n")
    more = {
        "Challenge": "Challenge: 12345\r\n",
        "Login": "\r\nEvent: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\n",
        "CoreShowChannels": "EventList: start\r\n\r\nEvent: CoreShowChannelsComplete\r\n"
        "ActionID: {}\r\nEventList: Complete\r\nListItems: 0\r\n",
    }
    for name, number in _actions(link):
        answer = f"Response: Success\r\nActionID: {number}\r\n{more[name].format(number)}\r\n"
        link.sendall(answer.encode())
        if name == "CoreShowChannels":
            return


def _actions(link: socket.socket) -> Iterator[tuple[str, str]]:
    """Name and ActionID of each action."""
    heard = ""
    while data := link.recv(4096):
        heard += data.decode()
        while "\r\n\r\n" in heard:
            action, _, heard = heard.partition("\r\n\r\n")
            [name] = re.findall(r"^Action: (\w+)", action, re.M)
            [number] = re.findall(r"^ActionID: (\S+)", action, re.M)
            yield name, number.strip()


def _ask(call: socket.socket, environment: bytes, answers: tuple[bytes, ...]) -> None:
    """Run a script as Asterisk does, to its end."""
    call.sendall(environment)
    for answer in answers:
        assert call.recv(4096).endswith(b"\n")
        call.sendall(answer + b"\n")
    assert not call.recv(4096)
