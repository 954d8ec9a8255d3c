"""One daemon per Asterisk: an advisory lock in Postgres that says who holds it.

The lock goes with the connection that took it. Knows no Asterisk, only the name it is given.
"""

from __future__ import annotations

import os
import socket
import zlib

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ccdaemon.config_rules import is_this_machine
from ccdaemon.history.migrate import LOCKS
from ccdaemon.history.pg_link import Link

_HOLDER = """
SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'this machine'), a.backend_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
"""


class HeldBy(Exception):
    """Another daemon works with this Asterisk and this database.

    :param who: its name, process and machine.
    """

    def __init__(self, who: str) -> None:
        super().__init__(f"{who} works with this Asterisk already: one daemon per Asterisk")
        self.who = who


class Tenancy:
    """The right to be the daemon of an Asterisk.

    :param host: where the Asterisk is, as configured. This machine's own is another one than
        that of any other machine, however each calls it.
    :param port: of its AMI.
    :ivar held: fires with :class:`HeldBy` (as a value) the first time another daemon has it.
    """

    _log = Logger()

    def __init__(self, host: str, port: int) -> None:
        if is_this_machine(host):
            host = f"{socket.gethostname()}'s own"
        self._key = zlib.crc32(f"{host}:{port}".encode())
        self.held: Deferred[HeldBy] = Deferred()

    async def take(self, link: Link, node: str) -> None:
        """Take the lock on the connection that is kept.

        :param node: of the journal, by which this daemon knows its own former connections.
        :raise HeldBy: if another daemon has it.
        """
        me = f"ccdaemon {node} {socket.gethostname()} {os.getpid()}"
        await link.query("SELECT set_config('application_name', %s, false)", (me[:63],))
        if await self._try(link):
            return
        for pid, name, address, since in await link.query(_HOLDER, (LOCKS, self._key)):
            if not name.startswith(f"ccdaemon {node} "):
                held = HeldBy(f"{name} (from {address}, since {since:%Y-%m-%d %H:%M:%S %Z})")
                if not self.held.called:
                    self.held.callback(held)
                raise held
            # The folder of the journal is locked, so this can only be a connection of ours that
            # the server has not noticed to be gone.
            self._log.info("ending our own former connection {pid}", pid=pid)
            await link.query("SELECT pg_terminate_backend(%s)", (pid,))
        if not await self._try(link):
            raise TenancyUnclear("the lock of this Asterisk is being taken or given up")

    async def _try(self, link: Link) -> bool:
        signed = self._key - 2**32 if self._key >= 2**31 else self._key
        rows = await link.query("SELECT pg_try_advisory_lock(%s, %s)", (LOCKS, signed))
        return bool(rows[0][0])


class TenancyUnclear(Exception):
    """The lock is neither had nor held by anybody; trying again will tell."""
