"""One daemon per Asterisk: an advisory lock in Postgres that says who holds it.

The lock goes with the connection that took it. Knows no Asterisk, only the name it is given.
"""

from __future__ import annotations

import os
import socket
import zlib

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ccdaemon.config.validators import is_this_machine
from ccdaemon.store.migrate import LOCKS
from ccdaemon.store.pg_link import Link

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


class AsteriskLock:
    """The right to be the daemon of an Asterisk.

    :param host: where the Asterisk is, as configured. This machine's own is another one than
        that of any other machine, however each calls it.
    :param port: of its AMI.
    :ivar asterisk: both, as the lock has them.
    :ivar held: fires with :class:`HeldBy` (as a value) the first time another daemon has it.
    """

    _log = Logger()

    def __init__(self, host: str, port: int) -> None:
        if is_this_machine(host):
            host = f"{socket.gethostname()}'s own"
        self.asterisk = f"{host}:{port}"
        self._key = zlib.crc32(self.asterisk.encode())
        self.held: Deferred[HeldBy] = Deferred()

    async def take(self, link: Link, file: str) -> None:
        """Take the lock on the connection that is kept.

        :param file: the name of the journal's file, by which this daemon knows its own former
            connections.
        :raise HeldBy: if another daemon has it.
        :raise LockUnclear: if nobody is left who has it; that will show in a while.
        """
        me = f"ccdaemon {file} {socket.gethostname()} {os.getpid()}"
        await link.query("SELECT set_config('application_name', %s, false)", (me[:63],))
        if await self._try(link):
            return
        for pid, name, address, since in await link.query(_HOLDER, (LOCKS, self._key)):
            if not name.startswith(f"ccdaemon {file} "):
                if _is_gone(name):
                    # Its journal may be gone, too, and ours made anew. Nothing but its process
                    # says that it is over, so the server is left to notice that by itself.
                    raise LockUnclear(f"{name} has ended, and still has this Asterisk")
                held = HeldBy(f"{name} (from {address}, since {since:%Y-%m-%d %H:%M:%S %Z})")
                if not self.held.called:
                    self.held.callback(held)
                raise held
            # The folder of the journal is locked, so this can only be a connection of ours that
            # the server has not noticed to be gone.
            self._log.info("ending our own former connection {pid}", pid=pid)
            await link.query("SELECT pg_terminate_backend(%s)", (pid,))
        if not await self._try(link):
            raise LockUnclear("the lock of this Asterisk is being taken or given up")

    async def _try(self, link: Link) -> bool:
        signed = self._key - 2**32 if self._key >= 2**31 else self._key
        rows = await link.query("SELECT pg_try_advisory_lock(%s, %s)", (LOCKS, signed))
        return bool(rows[0][0])


def _is_gone(name: str) -> bool:
    """Whether a connection of this name is of a process of this machine that is no more."""
    host, _, pid = name.removeprefix("ccdaemon ").partition(" ")[2].rpartition(" ")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


class LockUnclear(Exception):
    """The lock is neither had nor held by anybody; trying again will tell."""
