"""The lab's own logic; as a whole it is proved by the live tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lab import audio, outgoing, processes, scenario
from lab.apt_sources import host_mirror
from lab.behaviours import PLAN
from lab.daemon import toml
from lab.phones import phone_event
from lab.processes import Child, clear_up, free_port

_CLOUD = """\
Types: deb deb-src
URIs: mirror+file://{list}
Suites: bookworm
"""
_DEB822 = """\
Types: deb
URIs: http://deb.example/debian-security
Suites: bookworm-security

# Types: deb
Types: deb
Enabled: no
URIs: http://off.example/debian

Types: deb-src
URIs: http://source.example/debian

Types: deb
URIs:
 http://apt.example/tool
 http://near.example/debian/
Suites: bookworm
"""
_ONE_LINE = """\
# deb http://off.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://near.example/debian bookworm main
"""


class MirrorTests(SynchronousTestCase):
    """Which mirror the machine's own apt uses."""

    def apt(self, **files: str) -> Path:
        """An /etc/apt with these files; ``_`` in a name stands for a dot."""
        folder = Path(self.mktemp()).absolute()
        (folder / "sources.list.d").mkdir(parents=True)
        for name, text in files.items():
            place = folder if name == "sources_list" else folder / "sources.list.d"
            (place / name.replace("_", ".")).write_text(text)
        return folder

    def test_deb822(self) -> None:
        """Of stanzas, only an enabled one with binary packages of Debian itself counts."""
        apt = self.apt(debian_sources=_DEB822)
        self.assertEqual(host_mirror(apt), "http://near.example/debian")

    def test_one_line(self) -> None:
        """Options in brackets are passed over; comments and sources do not count."""
        apt = self.apt(sources_list=_ONE_LINE)
        self.assertEqual(host_mirror(apt), "https://near.example/debian")

    def test_list_of_mirrors(self) -> None:
        """A stanza may name a file with the mirrors in it."""
        mirrors = Path(self.mktemp()).absolute()
        mirrors.write_text("https://first.example/debian\nhttps://second.example/debian\n")
        apt = self.apt(debian_sources=_CLOUD.format(list=mirrors))
        self.assertEqual(host_mirror(apt), "https://first.example/debian")

    def test_none(self) -> None:
        """Another system's mirror is none of Debian's."""
        apt = self.apt(sources_list="deb http://archive.example/ubuntu noble main\n")
        self.assertIsNone(host_mirror(apt))


class ScenarioTests(SynchronousTestCase):
    """What is said to SIPp."""

    def test_every_jump_has_a_place(self) -> None:
        """Scenarios are well-formed, and whatever they jump to is a label in them."""
        texts = [
            scenario.answering(PLAN, "/tone.ulaw"),
            outgoing.calling(2.0, 1.0, "/tone.ulaw"),
            outgoing.registering(),
        ]
        for text in texts:
            root = ElementTree.fromstring(text)
            labels = {label.get("id") for label in root.iter("label")}
            for step in root.iter():
                for name in ("next", "ontimeout"):
                    if name in step.attrib:
                        self.assertIn(step.attrib[name], labels)

    def test_table_of_ways(self) -> None:
        """The table of a hundred ways is where the jump looks for it: after three steps."""
        steps = [
            step
            for step in ElementTree.fromstring(scenario.answering(PLAN, "/t"))
            if step.tag != "label"
        ]
        ways = [step.get("next") for step in steps[3:103]]
        self.assertEqual(ways, [f"{n:02}" if f"{n:02}" in PLAN else "00" for n in range(100)])

    def test_tone_is_loud_and_whole(self) -> None:
        """A tone is a whole number of periods, so that it can be played in a loop."""
        tone = audio.tone(440, 1.0)
        self.assertEqual(len(tone), audio.RATE)
        self.assertEqual(tone[0], 0xFF)
        self.assertGreater(len(set(tone)), 50)


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
_PLAIN = st.one_of(st.booleans(), st.integers(-9, 9), _TEXT, st.lists(_TEXT, max_size=3))
_NAME = st.from_regex(r"[a-z_]{1,6}", fullmatch=True)
_TABLE = st.dictionaries(_NAME, _PLAIN, max_size=3)


class EventTests(SynchronousTestCase):
    """Lines that SIPp logs."""

    def test_a_whole_second(self) -> None:
        """SIPp writes a zero as nothing."""
        event = phone_event("1795958188.000000||ringing|1-2@127.0.0.1|1000| ")
        assert event is not None
        self.assertEqual((event.time, event.event, event.number), (1795958188, "ringing", "1000"))

    def test_of_its_own(self) -> None:
        """What has not all its parts is none."""
        self.assertIsNone(phone_event("1795958188.000000|12"))


class ConfigurationTests(SynchronousTestCase):
    """The daemon's configuration file."""

    @given(_TABLE, _TABLE, st.lists(_TABLE, min_size=1, max_size=2))
    def test_toml(
        self, top: dict[str, object], table: dict[str, object], rows: list[object]
    ) -> None:
        """Whatever is written is read back as it was."""
        tables = {**top, "Table": table, "Rows": rows}
        self.assertEqual(tomllib.loads(toml(tables)), tables)


class ChildTests(SynchronousTestCase):
    """The programs of a lab."""

    def test_started_under_nohup(self) -> None:
        """SIGHUP means to them what it means to any program."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        child = Child(["/bin/sleep", "60"], Path(self.mktemp()))
        child.send(signal.SIGHUP)
        self.assertEqual(child.wait(10.0), -signal.SIGHUP)


class PortTests(SynchronousTestCase):
    """Ports that nobody has."""

    def test_free(self) -> None:
        """None that is taken, and none that a connection which goes out may be given."""
        ports = {kind: free_port(kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)}
        for kind, only in ports.items():
            with socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("127.0.0.1", only))
                self.patch(processes, "_PORTS", {kind: (only, only, only + 1)})
                self.assertEqual(free_port(kind), only + 1)
            self.assertLess(only, 32_768)


class LedgerTests(SynchronousTestCase):
    """What a killed lab has left behind."""

    def setUp(self) -> None:
        """A ledger of a process that is gone, with a child that lives and a folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.made = self.folder / "made"
        self.made.mkdir(parents=True)
        wait = [sys.executable, "-c", "import time; time.sleep(60)"]
        self.child = subprocess.Popen(wait)
        self.addCleanup(self.child.kill)

    def write(self, owner: dict[str, object], started: str) -> None:
        """A ledger as a lab writes it, broken off in its last line."""
        facts = [
            {"owner": owner},
            {"child": {"pid": self.child.pid, "started": started}},
            {"folder": str(self.made)},
        ]
        lines = "\n".join(json.dumps(fact) for fact in facts)
        (self.folder / "1.jsonl").write_text(f'{lines}\n{{"fol')

    def test_of_a_dead_lab(self) -> None:
        """The child is killed and the folder removed."""
        self.write({"pid": 2**22 + 1, "started": "1"}, _started(self.child.pid))
        clear_up(self.folder)
        self.assertEqual(self.child.wait(5), -9)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_of_a_number_that_came_again(self) -> None:
        """A process that merely has the number of the child is left alone."""
        self.write({"pid": 2**22 + 1, "started": "1"}, "12345")
        clear_up(self.folder)
        self.assertIsNone(self.child.poll())

    def test_of_a_living_lab(self) -> None:
        """Nothing is touched."""
        self.write({"pid": os.getpid(), "started": _started(os.getpid())}, _started(self.child.pid))
        clear_up(self.folder)
        self.assertIsNone(self.child.poll())
        self.assertTrue(self.made.exists())


def _started(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
