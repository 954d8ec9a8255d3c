"""Brings the numbers that the history has into their form, once a country is home.

A few at a time with pauses, so that nobody waits for it, however much there is; broken off, it
goes on where it was. Each daemon sees to the calls of its own node. Knows SQL, and what a number
means from ``numbers``.
"""

from __future__ import annotations

from typing import Protocol

from psycopg2 import Error
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ccdaemon.numbers import Numbers
from ccdaemon.store.postgres import Database, DatabaseDown, Transaction

#: Numbers that are looked at in one transaction, and calls that are changed in one.
STEP = 100
#: Seconds between two transactions, and after one that failed.
PAUSE, AGAIN = 0.2, 10.0


class KnowsNode(Protocol):
    """The journal, as far as it says whose it is."""

    @property
    def node(self) -> str:
        """The node."""
        ...

    def when_begun(self) -> Deferred[None]:
        """Fires when the node is known."""
        ...


class Renumbering(Service):
    """Does it, in the background.

    :param journal: says which node this daemon is, once that is known.
    :ivar changed: calls whose number was changed since the start.
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        numbers: Numbers,
        internal: str,
        journal: KnowsNode,
        clock: IReactorTime,
    ) -> None:
        self._database = database
        self._numbers = numbers
        self._home = f"{numbers.country} {internal}"
        self._journal = journal
        self._clock = clock
        self._job: Deferred[None] | None = None
        self.changed = 0

    def startService(self) -> None:
        """Begin, where a country is home."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._numbers.country is not None:
            self._job = Deferred.fromCoroutine(self._until_done())
            self._job.addErrback(lambda failure: failure.trap(CancelledError))

    def stopService(self) -> None:
        """Break off; the rest comes after the next start."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._job is not None:
            self._job.cancel()

    async def _until_done(self) -> None:
        await self._journal.when_begun()
        while True:
            try:
                await self._database.when_up()
                if await self._database.transaction(self._step):
                    return
                pause = PAUSE
            except (DatabaseDown, Error) as error:
                self.log.warn("numbers of the history wait for their form: {error}", error=error)
                pause = AGAIN
            await deferLater(self._clock, pause)

    async def _step(self, transaction: Transaction) -> bool:
        """Look at the next numbers; say whether there are none."""
        node = self._journal.node
        await transaction.query(
            "INSERT INTO numbering (node, home) VALUES (%s, %s) ON CONFLICT (node) DO UPDATE"
            " SET home = excluded.home, since = now(), after = '', done = false"
            " WHERE numbering.home <> excluded.home",
            (node, self._home),
        )
        ((after, done),) = await transaction.query(
            "SELECT after, done FROM numbering WHERE node = %s FOR UPDATE", (node,)
        )
        if done:
            return True
        found = await transaction.query("SELECT phones_after(%s, %s)", (after, STEP))
        if not found:
            await self._end(transaction, node)
            return True
        last = after
        for (phone,) in found:
            if not await self._renumber(transaction, node, phone):
                break
            last = phone
        await transaction.query("UPDATE numbering SET after = %s WHERE node = %s", (last, node))
        return False

    async def _renumber(self, transaction: Transaction, node: str, phone: str) -> bool:
        """Give the calls with a number its form; say whether that were all of them."""
        form = self._numbers.form(phone)
        if form is None or form == phone:
            return True
        made = await transaction.query(
            "SELECT FROM renumbered WHERE node = %s AND form = %s", (node, phone)
        )
        if made:
            # Once it is a form it means what it says, whatever it could mean at home.
            return True
        ((changed,),) = await transaction.query(
            "SELECT renumber(node, %s, %s, since, %s) FROM numbering WHERE node = %s",
            (phone, form, STEP, node),
        )
        if not changed:
            return True
        self.changed += changed
        await transaction.query(
            "INSERT INTO renumbered VALUES (%s, %s) ON CONFLICT DO NOTHING", (node, form)
        )
        await transaction.query("SELECT close_missed(%s)", (form,))
        return bool(changed < STEP)

    async def _end(self, transaction: Transaction, node: str) -> None:
        await transaction.query("DELETE FROM renumbered WHERE node = %s", (node,))
        await transaction.query("UPDATE numbering SET done = true WHERE node = %s", (node,))
        self.log.info(
            "the history has its numbers in their form; {count} calls had another spelling",
            count=self.changed,
        )
