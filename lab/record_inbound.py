"""``python -m lab.record_inbound DIR``: what Asterisk says of inbound calls, row by row, kept.

As ``lab.record`` does it, in DIR/22-pjsip/inbound and DIR/16-chan_sip/inbound. In the daemon's
place stands a script that sets what the row has the daemon decide.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import time
from pathlib import Path
from threading import Thread

from lab.debian import Suite
from lab.processes import wait_until
from lab.record import LABS, Session
from lab.sip_files import TECHNOLOGY, WITH_PHONE, Flavour
from lab.stack import Lab
from tests.integration.inbound_rows import ABSENT, RING_TIMEOUT, Row
from tests.trace_inbound import CALLER, DID, RECORDED, sips


class Decides(Thread):
    """A FastAGI server that answers every call with the same variables, after some seconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.variables: dict[str, str] = {}
        self.seconds = 0.0
        self._port = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._port.getsockname())
        self.start()

    def run(self) -> None:
        """Answer one call after the other."""
        while True:
            link, _ = self._port.accept()
            with link, contextlib.suppress(OSError):  # The client may have hung up.
                self._answer(link)

    def _answer(self, link: socket.socket) -> None:
        with link.makefile("rwb") as talk:
            while talk.readline().strip():
                pass
            time.sleep(self.seconds)
            for name, value in self.variables.items():
                talk.write(f'SET VARIABLE {name} "{value}"\n'.encode())
                talk.flush()
                talk.readline()


def _variables(row: Row, technology: str) -> dict[str, str]:
    """What the daemon would set; who is not registered it would pass over."""
    said = {"CC_TIMEOUT": str(RING_TIMEOUT)}
    able = [[sip for sip in each if sip != f"10{ABSENT}"] for each in sips(row)]
    rounds = [each for each in able if each]
    for number, each in enumerate(rounds, 1):
        said[f"CC_DIAL_{number}"] = "&".join(f"{technology}/{sip}" for sip in each)
        said[f"CC_SIP_{number}"] = "&".join(each)
    advice = dict(row.advice)
    if "redirect" in advice:
        return {**said, "CC_EXTENSION": advice["redirect"], "CC_ROUTE": "redirect"}
    return {**said, "CC_ROUTE": "reject" if "reject" in advice else "dial" if rounds else "none"}


def _record(suite: Suite, flavour: Flavour, rows: dict[str, Row], folder: Path) -> None:
    lab, decides = Lab(suite=suite, flavour=flavour), Decides()
    asterisk = lab.asterisk
    asterisk.globals.update(CC_AGI=decides.address, CC_REDIRECT_CONTEXT="from-crm")
    try:
        asterisk.start()
        lab.operators.start()
        lab.clients.start()
        lab.register(WITH_PHONE)
        for name, row in rows.items():
            print(folder, name, flush=True)
            decides.variables = _variables(row, TECHNOLOGY[flavour])
            decides.seconds = row.slow
            cel = asterisk.cel_file_on_host
            before = cel.stat().st_size if cel.exists() else 0
            session = Session(asterisk.ports.ami, "ccdaemon", asterisk.secret)
            lab.clients.call(DID, CALLER, talk=row.talk, cancel_after=row.cancel_after).wait(30)
            wait_until(
                lambda cel=cel, before=before: b"LINKEDID_END" in cel.read_bytes()[before:],  # type: ignore[misc]
                20.0,
                "the CEL is whole",
            )
            (folder / f"{name}.ami").write_bytes(session.end())
            (folder / f"{name}.cel").write_bytes(cel.read_bytes()[before:])
    finally:
        lab.close()


def main(arguments: list[str]) -> int:
    """Do it and return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m lab.record_inbound DIR", file=sys.stderr)
        return 2
    for suite, flavour, name in LABS:
        folder = Path(arguments[0]).absolute() / name / "inbound"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _record(suite, flavour, RECORDED[name], folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
