"""The whole lab: one Asterisk, the phones around it, and a Postgres.

Knows which part needs which; does not know the daemon.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from lab.asterisk import CONF, TRUNK_HOST, Asterisk
from lab.debian import Progress, Suite, cache_folder
from lab.phones import Phones
from lab.postgres import Postgres
from lab.processes import Ledger, free_port
from lab.roots import Root, baked, find_root, phones_root
from lab.sip_files import WITH_PHONE, Flavour, more_trunk
from lab.softphones import Softphones

#: What is heard of whom.
OPERATOR_HERTZ, CLIENT_HERTZ = 440, 880
#: The trunk to clients whose phones a test plays by hand.
SOFT_TRUNK, SOFT_HOST = "trunk-soft", "127.0.0.3"


class Lab:
    """Asterisk, phones and Postgres on loopback; nothing runs before ``start``.

    ``suite`` None: the Asterisk of this machine if it has one, else Debian sid's. ``keep``: the
    folder of Postgres' data, if they are to stay.

    :raises Unavailable: a part cannot be had on this machine.
    """

    def __init__(
        self,
        *,
        suite: Suite | None = None,
        flavour: Flavour = "pjsip",
        cache: Path | None = None,
        conf: Path = CONF,
        keep: Path | None = None,
        progress: Progress = print,
    ) -> None:
        cache = cache or cache_folder()
        self.root = baked(suite, cache, progress) if suite else find_root(cache, progress)
        phones = phones_root(self.root, cache, progress)
        self.ledger = Ledger(cache / "running")
        self.name = f"{os.getpid()}-{secrets.token_hex(3)}"
        soft = (SOFT_HOST, free_port(socket.SOCK_DGRAM, SOFT_HOST))
        self.asterisk = Asterisk(
            self.root,
            f"{self.name}-asterisk",
            flavour,
            conf,
            extra=more_trunk(flavour, SOFT_TRUNK, soft),
            ledger=self.ledger,
        )
        server = ("127.0.0.1", self.asterisk.ports.sip)
        self.soft_operators = Softphones("127.0.0.1", server)
        self.soft_clients = Softphones(SOFT_HOST, server, soft[1])
        self.operators = self._phones(phones, "operators", "127.0.0.1", OPERATOR_HERTZ)
        self.clients = self._phones(phones, "clients", TRUNK_HOST, CLIENT_HERTZ)
        self.clients.port = self.asterisk.trunk_port
        self.postgres = Postgres(
            keep or cache / "postgres" / self.name,
            keep=keep is not None,
            ledger=self.ledger,
            progress=progress,
        )

    def start(self) -> None:
        """Start all and register the operators' phones. :raises Unavailable: a part fails."""
        try:
            self.postgres.start()
            self.asterisk.start()
            self.operators.start()
            self.clients.start()
            self.soft_operators.start()
            self.soft_clients.start()
            self.register(WITH_PHONE)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all and remove what it made."""
        self.operators.stop()
        self.clients.stop()
        self.soft_operators.stop()
        self.soft_clients.stop()
        self.asterisk.stop()
        self.postgres.close()
        self.ledger.close()

    def register(self, operators: Iterable[str]) -> None:
        """Let operators' phones register."""
        self.operators.register(operators, self.asterisk.phone_password)

    def unregister(self, operators: Iterable[str]) -> None:
        """Let operators' phones leave."""
        self.operators.unregister(operators, self.asterisk.phone_password)

    def asterisk_settings(self) -> dict[str, object]:
        """The daemon's ``[asterisk]`` table for this lab."""
        return {
            "host": "127.0.0.1",
            "port": self.asterisk.ports.ami,
            "username": "ccdaemon",
            "secret": self.asterisk.secret,
            "operator_channel": self.asterisk.operator_channel,
            "client_channel": self.asterisk.client_channel,
            "recordings_dir": str(self.asterisk.recordings_as_asterisk_sees),
            "recordings_mount": str(self.asterisk.recordings_on_host),
            "cel_file": str(self.asterisk.cel_file_on_host),
        }

    def _phones(self, root: Root, kind: str, host: str, hertz: int) -> Phones:
        server = ("127.0.0.1", self.asterisk.ports.sip)
        name = f"{self.name}-{kind}"
        return Phones(root, name, server, host=host, hertz=hertz, ledger=self.ledger)
