"""A machine with a bare Asterisk, made of namespaces, on which docs/install.md is followed.

Run as a program of its own, twice: first with the network, to install the daemon; then within a
network namespace that has nothing but loopback. Asterisk's machine is the baked DEBIAN under an
overlay, the phones' is PHONES, which has a newer SIPp; the daemon's is this one, with overlays
over the folders that are written to. They share what they would share if they were one. Nothing
that is done there outlives the program.

    python -m tests.integration.bare_machine install|call DEBIAN PHONES FLAVOUR FOLDER
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lab.behaviours import Behaviour
from lab.phones import Phones
from lab.processes import Child, wait_until
from lab.roots import Root

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PAGE = CHECKOUT / "docs" / "install.md"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CLIENT_TALKS = 3.0


@dataclass(frozen=True)
class Block:
    """Commands as printed, and the words behind ``sh`` that say where they belong."""

    words: frozenset[str]
    commands: str


def blocks(page: str) -> list[Block]:
    """The command blocks of a page, in order."""
    found = re.findall(r"^```sh(.*?)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(frozenset(words.split()), commands) for words, commands in found]


class Machine:
    """Both machines, seen from the daemon's. ``folder`` is empty and goes with the test."""

    def __init__(self, debian: Path, phones: Path, flavour: str, folder: Path) -> None:
        self.flavour = flavour
        self.folder = folder
        self.lower = {"machine": debian, "phones": phones}
        self.root, self.phones = (
            Root(folder / name, PurePosixPath("/srv/ccdaemon")) for name in self.lower
        )
        self.blocks = blocks(PAGE.read_text("utf-8"))
        self.clients: Phones

    def mount(self) -> None:
        """Lay overlays, and let the two machines share what they would share."""
        machine = self.root.path
        for name, debian in self.lower.items():
            self._overlay(debian, self.folder / name)
            subprocess.run(["mount", "-t", "proc", "proc", self.folder / name / "proc"], check=True)
        for name in ("etc", "opt", "var/lib", "var/log", "var/spool"):
            self._overlay(Path("/") / name, Path("/") / name)
        for shared in ("etc/ccdaemon", "var/log/asterisk", "var/spool/asterisk"):
            for side in (Path("/"), machine):
                (side / shared).mkdir(exist_ok=True)
            source, target = machine / shared, Path("/") / shared
            subprocess.run(["mount", "--bind", source, target], check=True)
        group = (machine / "etc/asterisk").stat().st_gid
        self.on_daemons(f"groupadd --non-unique --gid {group} asterisk")

    def _overlay(self, lower: Path, target: Path) -> None:
        name = str(target).strip("/").replace("/", "-")
        upper, work = self.folder / f"{name}.upper", self.folder / f"{name}.work"
        for path in (upper, work, target):
            path.mkdir(exist_ok=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", target], check=True)

    def on_daemons(self, commands: str) -> str:
        """Run commands on the daemon's machine, each of which has to succeed."""
        return self._run(["sh", "-e", "-c", commands], CHECKOUT)

    def on_asterisks(self, commands: str) -> str:
        """Run commands on Asterisk's machine, each of which has to succeed."""
        return self._run(self.root.command("sh", "-e", "-c", commands), Path("/"))

    def _run(self, argv: list[str], folder: Path) -> str:
        done = subprocess.run(
            argv,
            cwd=folder,
            env={"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{argv[-1]}\nended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def follow(self, *words: str, without: tuple[str, ...] = ()) -> str:
        """Run the page's blocks that have all of ``words``; what they print."""
        other = {"pjsip": "chan_sip", "chan_sip": "pjsip"}[self.flavour]
        unwanted = {*without, other, "systemd", "postgres"}
        said = []
        for block in self.blocks:
            if block.words >= set(words) and not block.words & unwanted:
                run = self.on_asterisks if "asterisk" in block.words else self.on_daemons
                said.append(run(block.commands))
        if not said:
            raise SystemExit(f"{PAGE} has no commands for {words}")
        return "".join(said)

    def start_asterisk(self) -> None:
        """Start it as Debian's service does, with the files as they are now."""
        argv = self.root.command(
            "/usr/sbin/asterisk", "-g", "-f", "-U", "asterisk", "-G", "asterisk"
        )
        Child(argv, self.folder / "asterisk.log")
        wait_until(self._has_booted, 60.0, "Asterisk booted")

    def _has_booted(self) -> bool:
        asked = self.root.command("/usr/sbin/asterisk", "-rx", "core waitfullybooted")
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return "fully booted" in done.stdout

    def start_phones(self) -> None:
        """Switch on operator 1000 and the client's phone at the trunk's address."""
        server = ("127.0.0.1", 5060)
        operator = Phones(self.phones, "operator", server)
        operator.start()
        operator.register(["1000"], "secret1000")
        plan = {"00": Behaviour("answers and hangs up", talk=CLIENT_TALKS)}
        self.clients = Phones(self.phones, "client", server, host="127.0.0.2", port=5080, plan=plan)
        self.clients.start()

    def start_daemon(self) -> None:
        """Run the page's block that keeps the daemon in the foreground."""
        [block] = [block for block in self.blocks if "foreground" in block.words]
        environment = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
        daemon = Child(
            ["sh", "-e", "-c", block.commands], self.folder / "daemon.log", env=environment
        )

        def knows() -> bool:
            if daemon.status is not None:
                raise SystemExit(f"the daemon ended:\n{daemon.log.read_text()}")
            try:
                operators = ask("/api/sipList.json")["response"]["data"]
            except OSError:
                return False
            return any(operator["status"] == "online" for operator in operators)

        wait_until(knows, 60.0, "the daemon knows that operator 1000 is online")


def each_json(text: str) -> Iterator[Any]:
    """The JSON values in what curl printed, among its progress."""
    while (start := text.find('{"status"')) >= 0:
        value, length = json.JSONDecoder().raw_decode(text[start:])
        text = text[start + length :]
        yield value


def ask(path: str) -> Any:
    """Ask the API, as JSON."""
    with urllib.request.urlopen(f"http://127.0.0.1:8080{path}", timeout=10) as answer:
        return json.load(answer)


def call(machine: Machine) -> dict[str, Any]:
    """Follow the page from the configuration to a call; what came of it."""
    machine.follow("asterisk", "example")
    machine.follow("daemon", without=("checkout", "check", "foreground", "call"))
    machine.follow("asterisk", without=("example",))
    machine.start_asterisk()
    machine.start_phones()
    checked = machine.follow("check")
    machine.start_daemon()
    answers = list(each_json(machine.follow("call")))
    end = time.monotonic() + 30
    states: list[dict[str, Any]] = []
    while not (states and states[-1]["final"]) and time.monotonic() < end:
        time.sleep(0.2)
        states = ask("/api/callHistory.json?external_key=24")["response"][0]["states"]
    records: list[dict[str, Any]] = []
    while not records and time.monotonic() < end:
        time.sleep(0.2)
        records = ask("/api/recordList.json")["response"]["data"]
    return {
        "check": checked,
        "answers": answers,
        "inbound": inbound(machine),
        "states": [state["state"] for state in states],
        "records": records,
        "cel": (machine.root.path / "var/log/asterisk/cel-custom/Master.csv").read_text(),
    }


def inbound(machine: Machine) -> list[dict[str, Any]]:
    """A client calls in; the states that are told of it."""
    caller = "380631112233"
    machine.clients.call("380441112233", caller, talk=CLIENT_TALKS)
    end = time.monotonic() + 30
    states: list[dict[str, Any]] = []
    while not (states and states[0]["final"]) and time.monotonic() < end:
        time.sleep(0.2)
        states = ask(f"/api/callHistory.json?phone={caller}")["response"]
    return states[::-1]


def loopback_up() -> None:
    """Do what ``ip link set lo up`` does, where there is no ``ip``."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(link, get_flags, asked))
        fcntl.ioctl(link, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def main(stage: str, debian: str, phones: str, flavour: str, folder: str) -> None:
    """Be one of the two programs; the first one becomes the second."""
    machine = Machine(Path(debian), Path(phones), flavour, Path(folder))
    if stage == "install":
        machine.mount()
        machine.follow("checkout")
        argv = ["unshare", "--net", sys.executable, "-m", "tests.integration.bare_machine"]
        os.execvp("unshare", [*argv, "call", debian, phones, flavour, folder])
    loopback_up()
    print(json.dumps(call(machine)))


if __name__ == "__main__":
    main(*sys.argv[1:])
