"""The Debian package on a machine of its own: installed, upgraded, a call made, removed and purged.

The machine is the one on which docs/install.md is followed, with its whole system under an overlay.

    python -m tests.integration.deb_machine install|call DEBIAN PHONES PACKAGE FOLDER
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.integration.bare_machine import Machine, ask, loopback_up

CONFIG = Path("/etc/ccdaemon/ccdaemon.toml")


class DebMachine(Machine):
    """A machine on which the package is what brings the daemon."""

    def mount(self) -> None:
        """Lay an overlay over the programs, too, for that is where a package puts its files."""
        super().mount()
        self._overlay(Path("/usr"), Path("/usr"))

    def dpkg(self, *words: str) -> str:
        """Do something with the package; what it says."""
        return self._run(["dpkg", *words], Path("/"))

    def apart(self) -> None:
        """Let /etc/ccdaemon be a plain folder of this machine's, no mount that it shares."""
        kept = "/etc/ccdaemon.kept"
        steps = f"cp -a {CONFIG.parent} {kept}; umount {CONFIG.parent}; rmdir {CONFIG.parent}"
        self.on_daemons(f"{steps}; mv {kept} {CONFIG.parent}")

    def newer(self, package: Path) -> Path:
        """The same package, as of a later version."""
        unpacked, newer = self.folder / "newer", self.folder / "newer.deb"
        self._run(["dpkg-deb", "--raw-extract", str(package), str(unpacked)], Path("/"))
        control = unpacked / "DEBIAN" / "control"
        lines = control.read_text().splitlines()
        control.write_text(
            "".join(
                f"{line}.0.1\n" if line.startswith("Version:") else f"{line}\n" for line in lines
            )
        )
        self._run(["dpkg-deb", "-Zgzip", "-z1", "--build", str(unpacked), str(newer)], Path("/"))
        return newer


def life(machine: DebMachine, package: Path) -> dict[str, Any]:
    """Install, upgrade, call, remove and purge; what came of each."""
    installed = machine.dpkg("--install", str(package))
    machine.follow("asterisk", "example")
    machine.follow("daemon", "inbound")
    configured = CONFIG.read_text()
    upgraded = machine.dpkg("--install", str(machine.newer(package)))
    kept = CONFIG.read_text() == configured
    machine.follow("asterisk", without=("example",))
    machine.start_asterisk()
    machine.start_phones()
    checked = machine.follow("check")
    machine.start_daemon()
    machine.follow("call")
    end = time.monotonic() + 30
    states: list[dict[str, Any]] = []
    while not (states and states[-1]["final"]) and time.monotonic() < end:
        time.sleep(0.2)
        states = ask("/api/callHistory.json?external_key=24")["response"][0]["states"]
    machine.apart()
    removed = machine.dpkg("--remove", "ccdaemon")
    still = CONFIG.exists()
    purged = machine.dpkg("--purge", "ccdaemon")
    left = [path for path in ("/etc/ccdaemon", "/opt/ccdaemon") if Path(path).exists()]
    return {
        "installed": installed,
        "upgraded": upgraded,
        "kept": kept,
        "check": checked,
        "states": [state["state"] for state in states],
        "removed": removed,
        "still": still,
        "purged": purged,
        "left": left,
        "history": Path("/var/lib/ccdaemon/journal.sqlite").exists(),
    }


def main(stage: str, debian: str, phones: str, package: str, folder: str) -> None:
    """Be one of the two programs; the first one becomes the second."""
    machine = DebMachine(Path(debian), Path(phones), "pjsip", Path(folder))
    if stage == "install":
        machine.mount()
        argv = ["unshare", "--net", sys.executable, "-m", "tests.integration.deb_machine"]
        os.execvp("unshare", [*argv, "call", debian, phones, package, folder])
    loopback_up()
    print(json.dumps(life(machine, Path(package))))


if __name__ == "__main__":
    main(*sys.argv[1:])
